"""What Dagster's instance says of the demo's table: partitions that it lists as materialised, and runs."""

from pathlib import Path

import dagster as dg

from arrow_ingest import environment
from arrow_ingest.components.names import PIPELINE_TAG, Names
from arrow_ingest.config import PipelineConfig


class DagsterState:
    """A reader of the instance in ``home`` (DAGSTER_HOME)."""

    def __init__(self, home: Path, config: PipelineConfig) -> None:
        environment.enter_dagster_home(home)
        self._instance = dg.DagsterInstance.from_config(str(home))
        self._names = Names.of(config)

    def materialised(self) -> frozenset[str]:
        """Partition keys of the table that have a materialisation."""
        return frozenset(self._instance.get_materialized_partitions(self._names.table))

    def runs(self) -> int:
        """Runs of the pipeline so far; only the sensor launches any here."""
        return self._instance.get_runs_count(dg.RunsFilter(tags={PIPELINE_TAG: self._names.group}))
