"""`docker/prometheus/` and `docker/grafana/`: they ask for what the exporter serves, and for where it is served."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from arrow_ingest.cli.exporter import PORT
from arrow_ingest.exporter.metrics import METRICS
from arrow_ingest_tests.docker.compose import DOCKER, ROOT, document

LABELS = {metric.full_name: {"pipeline", *metric.labels} for metric in METRICS}
ALL_LABELS = set().union(*LABELS.values())
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "arrow_ingest.json").read_text())
RULES = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS = (DOCKER / "prometheus" / "alerts.test.yml").read_text()


def queries() -> Iterator[str]:
    """Every query of the dashboard and of the rules."""
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if "refresh" in variable)


def complaints(query: str) -> list[str]:
    """What a query asks for that the exporter does not serve."""
    found = [name for name in re.findall(r"\barrow_ingest_\w+", query) if name not in LABELS]
    for name, selector in re.findall(r"\b(arrow_ingest_\w+)\{([^}]*)\}", query):
        found += [f"{name}: {label}" for label in re.findall(r"(\w+)\s*[=!]", selector) if label not in LABELS[name]]
    for listed in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
        found += [label for label in listed.split(", ") if label not in ALL_LABELS]
    return found


@pytest.mark.parametrize("query", [*queries(), *re.findall(r"series: '(arrow_[^']+)'", TESTS)])
def test_a_query_asks_for_what_the_exporter_serves(query: str) -> None:
    assert complaints(query) == []
    assert "arrow_ingest" in query


def test_a_number_or_label_that_nobody_serves_would_be_found() -> None:
    assert complaints("sum by (lanes) (rate(arrow_ingest_row_total[5m]))") == ["arrow_ingest_row_total", "lanes"]
    assert complaints('arrow_ingest_files{lane="0"}') == ["arrow_ingest_files: lane"]


def test_each_alert_says_what_to_do_and_its_sentence_knows_its_labels() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warn", "error"}
        assert f"### {rule['alert']}\n" in page, rule["alert"]
        said = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        served = [LABELS[name] for name in re.findall(r"\barrow_ingest_\w+", rule["expr"]) if name in LABELS]
        assert all(said <= labels for labels in served), rule["alert"]
        assert rule["alert"] in TESTS or rule["alert"] == "ArrowIngestDeadLettersWait", rule["alert"]


def test_prometheus_scrapes_where_compose_serves_and_grafana_asks_prometheus() -> None:
    services: dict[str, Any] = document()["services"]
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"exporter:{PORT}"]}]
    command = services["exporter"]["command"]
    assert command[command.index("--port") + 1] == str(PORT)
    assert all(f'job="{job["job_name"]}"' in rule["expr"] for rule in RULES if "up{" in rule["expr"].split("_")[-1])
    folder = services["prometheus"]["volumes"][0].split(":")[1]
    assert config["rule_files"] == [f"{folder}/alerts.yml"]
    sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    providers = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/arrow_ingest.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1] for volume in services["grafana"]["volumes"]}
    assert {provider["options"]["path"] for provider in providers} | {"/etc/grafana/provisioning"} == mounted


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
