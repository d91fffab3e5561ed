"""A lake with a pipeline's table that is filled day by day, and SQL models over it: the subject of many tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.session import open_lake
from arrow_ingest.model_settings import ModelConfig, SqlModel
from arrow_ingest_tests.lake_writers import micro_batch, new_lane, pipeline, plan, stage

DAILY = """
SELECT CAST(timestamp AS DATE) AS day, event, count(*) AS events
FROM events WHERE timestamp >= $start AND timestamp < $stop GROUP BY ALL
"""


class ModelLake:
    """The table `events` of one lane, and what models have made of it."""

    def __init__(self, folder: Path, catalog: str | None = None) -> None:
        self.config = pipeline(folder)
        if catalog is not None:
            lake = self.config.lake.model_copy(update={"catalog": catalog})
            self.config = self.config.model_copy(update={"lake": lake})
        with open_lake(self.config.lake) as lake:
            self._lane = new_lane(lake, self.config)

    def model(self, sql: str = DAILY, **settings: Any) -> SqlModel:
        """A model of the table; ``settings`` replace top-level keys."""
        return model_of(self.config, sql, **settings)

    def commit(self, *days: str, event: str = "$pageview", minutes: Sequence[int] = (0, 10, 20)) -> int:
        """One micro-batch with rows of these days at minutes after midnight; the snapshot that it made."""
        with open_lake(self.config.lake) as lake:
            planned = plan(lake, self.config)
            files = [
                stage(
                    self.config,
                    planned,
                    [datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=at) for at in minutes],
                    event=[event] * len(minutes),
                )
                for day in days
            ]
            batch = micro_batch(self.config, self._lane, planned, files)
            with Committer(self.config.lake, session=lake) as committer:
                committed = committer.commit(batch)
            self._lane = batch.after
        return committed.snapshot_id

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Rows of a query over the lake, by a session of its own."""
        with open_lake(self.config.lake, read_only=True) as lake:
            return lake.execute(text)

    def foreign(self, text: str) -> None:
        """What somebody else does to the lake."""
        with open_lake(self.config.lake) as lake, lake.transaction():
            lake.execute(text)


def model_of(config: PipelineConfig, sql: str, **settings: Any) -> SqlModel:
    """A model over a pipeline's table."""
    attributes = {"name": "daily", "pipeline": config.name, "partition_by": {"column": "day"}, "sql": sql}
    return SqlModel(ModelConfig.model_validate(attributes | settings), config, sql)
