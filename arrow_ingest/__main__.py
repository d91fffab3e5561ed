"""`python -m arrow_ingest` is `arrow-ingest`."""

from arrow_ingest.cli import main

if __name__ == "__main__":
    main()
