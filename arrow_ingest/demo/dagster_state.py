"""What Dagster's instance says of the demo's tables: partitions that it lists as materialised, and runs."""

from pathlib import Path

import dagster as dg

from arrow_ingest import environment
from arrow_ingest.components.names import PIPELINE_TAG, Names
from arrow_ingest.config import PipelineConfig


class DagsterState:
    """A reader of the instance in ``home`` (DAGSTER_HOME)."""

    def __init__(self, home: Path) -> None:
        environment.enter_dagster_home(home)
        self._instance = dg.DagsterInstance.from_config(str(home))

    def materialised(self, config: PipelineConfig) -> frozenset[str]:
        """Partition keys of a pipeline's table that have a materialisation."""
        return frozenset(self._instance.get_materialized_partitions(Names.of(config).table))

    def runs(self, config: PipelineConfig) -> int:
        """Runs of a pipeline so far; only the sensor launches any here."""
        return self._instance.get_runs_count(dg.RunsFilter(tags={PIPELINE_TAG: Names.of(config).group}))
