# Every target works as the first command after a clone: .venv is made as needed, from PyPI alone.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
INSTALLED_UI := $(VENV)/installed-ui
# What the tests over the stack write; it is searched for secrets afterwards.
WRITTEN := .arrow_ingest/test-stack
# Passed through, for example: make test ARGS="-k producer -x", make demo ARGS="--once --json",
# make test-ui ARGS="--screenshots docs/images"
ARGS ?=

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## Create .venv with the exact versions of constraints.txt

demo: $(INSTALLED) ## Broker, producer and Dagster with a live view, until Ctrl-C
	@$(BIN)/arrow-ingest demo $(ARGS)

stack: $(INSTALLED) ## Apache Kafka, PostgreSQL and an S3 server on free ports, until Ctrl-C
	@$(BIN)/python -m arrow_ingest.stack $(ARGS)

# Many tests wait, for a broker's deadline or a child's end; three workers keep two cores busy meanwhile. They run far
# from UTC, since table partitions are UTC days wherever one is; those of the other tiers run where the machine is.
test: $(INSTALLED) ## Run the tests
	@TZ=America/Los_Angeles $(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(ARGS)

test-postgres: $(INSTALLED) ## Run the tests that need PostgreSQL, which has to be installed, on servers of their own
	@$(BIN)/python -m pytest -m 'postgres and not stack and not chaos' --numprocesses 3 --dist worksteal arrow_ingest_tests $(ARGS)

# The programs are brought first: Maven and Go take minutes the first time, longer than a test may. What is absent is
# said here, and by the tests that it keeps from running.
test-stack: $(INSTALLED) ## Run the tests that need Apache Kafka or an S3 server, which are brought by Maven and Go
	-@$(BIN)/python -m arrow_ingest.stack --install
	@$(BIN)/python -m pytest -m 'stack and not chaos' --numprocesses 2 --dist worksteal --basetemp $(WRITTEN) arrow_ingest_tests $(ARGS); \
	status=$$?; $(BIN)/python -m pytest -m canary --written $(WRITTEN) arrow_ingest_tests/stack && exit $$status

chaos-ci: $(INSTALLED) ## Run the faults with one seed: kills, lost answers, hostile bytes, contested commits, histories
	@$(BIN)/python -m pytest -m chaos --score --numprocesses 2 --dist worksteal arrow_ingest_tests $(ARGS)

# Every other seed loses answers over files on S3, for which the server's program is brought first.
chaos: $(INSTALLED) ## The same with 23 seeds, six hours or more; the report of docs/RELIABILITY.md comes last
	-@$(BIN)/python -m arrow_ingest.stack --install
	@$(BIN)/python -m pytest -m chaos --score --seeds 23 --numprocesses 2 --dist worksteal arrow_ingest_tests $(ARGS)

soak: $(INSTALLED) ## Two lanes and maintenance for an hour, a fault every five seconds; ARGS="--minutes 5"
	@$(BIN)/python -m arrow_ingest_tests.chaos.soak $(ARGS)

test-all: $(INSTALLED) ## Run all tests but the UI's, each end-to-end one in every combination of broker, catalog and store
	-@$(BIN)/python -m arrow_ingest.stack --install
	@$(BIN)/python -m pytest -m 'not canary and not chaos' --numprocesses 2 --dist worksteal $(ARGS)

test-ui: $(INSTALLED_UI) ## Look at and operate the running demo in chromium, which has to be installed
	@$(BIN)/python -m pytest arrow_ingest_tests/ui $(ARGS)

test-operate: $(INSTALLED_UI) ## Of these, an operator's day alone: late events, poison, maintenance, a rebuild
	@$(BIN)/python -m pytest arrow_ingest_tests/ui/test_ui_operate.py $(ARGS)

check: $(INSTALLED) ## Format, lint, types and layers: what CI runs before the tests
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet arrow_ingest_tests/test_layers.py

bench: $(INSTALLED) ## Measure against the limits and the alternatives, about 5 minutes
	@$(BIN)/python -m benchmarks run $(ARGS)

bench-full: $(INSTALLED) ## The same with 2 million rows, and everything that can grow; an hour or two
	@$(BIN)/python -m benchmarks run --full $(ARGS)

notebook: $(INSTALLED) ## Run the examples and write examples/tour.ipynb with what they print
	@$(BIN)/python examples/notebook.py

docs: $(INSTALLED) ## Write the generated pages of docs/
	@$(BIN)/python -m arrow_ingest.reference docs

clean: ## Remove .venv and caches; .arrow_ingest, which holds data, stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

.PHONY: help install demo stack test test-postgres test-stack chaos-ci chaos soak test-all test-ui test-operate check bench bench-full docs notebook clean

# The first Python in range that can make virtual environments. Names that exist may still not run (pyenv's shims), so
# each is tried.
$(BIN)/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	        if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	            $$python -m venv --clear $(VENV) && exit 0; \
	        fi; \
	        echo "$$python has no venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; \
	    fi; \
	done; \
	echo "arrow-ingest needs Python 3.11, 3.12 or 3.13 with venv as python3, python3.13, python3.12 or python3.11;" \
	    "python3 here is: $$(python3 --version 2>&1 || true)" >&2; \
	exit 1

$(INSTALLED): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $@

$(INSTALLED_UI): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,ui]'
	@touch $@
