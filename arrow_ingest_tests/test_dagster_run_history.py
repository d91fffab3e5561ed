"""Old runs deleted from Dagster: how many events are left, and that nothing current goes with them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from arrow_ingest.components.names import PIPELINE_CHECKS, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.components.run_history import Forgotten, forget_runs
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake import ledger
from arrow_ingest.lake.session import open_lake
from arrow_ingest_tests.dagster_runs import (
    PARTITIONS,
    THREE_DAYS,
    check_states,
    partition_badges,
    pipeline,
    send,
    supervised_run,
    versions,
)


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS))


def run_ids(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_run_ids())


def drained(config: PipelineConfig, instance: dg.DagsterInstance, *days: str) -> str:
    """The id of a run over these days' messages."""
    send(config, *days)
    result = supervised_run(config, instance)
    assert result.success
    return result.run_id


def forget(
    config: PipelineConfig, instance: dg.DagsterInstance, *, is_dry_run: bool = False, seconds: float = 60
) -> Forgotten:
    """Delete what ended until now, as if it were old."""
    later = datetime.now(UTC) + timedelta(seconds=1)
    deadline = time.monotonic() + seconds
    return forget_runs(instance, Names.of(config), before=later, deadline=deadline, is_dry_run=is_dry_run)


def test_old_runs_go_and_every_partition_keeps_its_newest_materialisation(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    first, second, third = THREE_DAYS
    superseded = drained(config, instance, first)
    both = drained(config, instance, first, second)
    newer = drained(config, instance, first, third)
    idle = drained(config, instance)
    others = dg.materialize([dg.AssetsDefinition.from_graph(graph_of("somebody"))], instance=instance).run_id
    before = versions(config, instance), check_states(config, instance), partition_badges(config, instance)

    assert forget(config, instance, seconds=-1) == Forgotten()
    assert forget(config, instance, is_dry_run=True) == Forgotten(deleted=2, kept=2)
    assert run_ids(instance) == {superseded, both, newer, idle, others}
    assert forget(config, instance) == Forgotten(deleted=2, kept=2)
    assert run_ids(instance) == {both, newer, others}
    assert not instance.all_logs(superseded)
    assert (versions(config, instance), check_states(config, instance), partition_badges(config, instance)) == before
    assert check_states(config, instance) == dict.fromkeys(PIPELINE_CHECKS, True)

    # The next run publishes from where the last one came to, and nothing that is published already.
    events = len(instance.fetch_materializations(Names.of(config).table, limit=1000).records)
    drained(config, instance, second)
    assert len(instance.fetch_materializations(Names.of(config).table, limit=1000).records) == events + 1
    assert forget(config, instance).kept == 2


def graph_of(name: str) -> dg.GraphDefinition:
    """Another project's asset, which no pipeline knows."""

    @dg.op(name=f"make_{name}")
    def make() -> int:
        return 1

    @dg.graph(name=name)
    def made() -> int:
        return make()

    return made


def test_maintenance_deletes_them_and_says_how_many(config: PipelineConfig, instance: dg.DagsterInstance) -> None:
    drained(config, instance, THREE_DAYS[0])
    names = Names.of(config)
    job = pipeline_definitions(config).resolve_job_def(names.maintenance_job)
    assert job.execute_in_process(instance=instance).success
    [record] = instance.fetch_materializations(names.maintenance, limit=1).records
    assert record.asset_materialization is not None
    numbers = {key: value.value for key, value in record.asset_materialization.metadata.items()}
    assert (numbers["runs/deleted"], numbers["runs/kept_for_their_newest"]) == (0, 0)  # none is 90 days old
    assert len(run_ids(instance)) == 2


def test_a_run_tells_dagster_as_much_of_several_commits_as_of_one(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    eager = config.model_copy(update={"flush": config.flush.model_copy(update={"max_bytes": 1})})
    told, made = [], []
    for settings in (config, eager):
        run_id = drained(settings, instance, *[THREE_DAYS[0]] * 12)
        with open_lake(config.lake, read_only=True) as lake:
            commits = ledger.commits_since(lake, config.name, 0)
        made.append(sum(commit.run_id == run_id for commit in commits))
        told.append(sum(entry.dagster_event_type is not None for entry in instance.all_logs(run_id)))
    assert made[0] == 1 < made[1]
    assert told[0] == told[1]
