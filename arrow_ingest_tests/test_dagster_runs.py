"""Runs of the table's op over a real broker and a real lake: what Dagster's instance holds afterwards."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from arrow_ingest.components import table_asset
from arrow_ingest.components.ledger_view import read_view
from arrow_ingest.components.metadata import PUBLISHED_THROUGH
from arrow_ingest.components.names import LANE_STATE_TAG, PARTITION_CHECKS, PIPELINE_CHECKS, Check, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.components.publisher import Publisher
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import TransientError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.values import Receipt
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.dagster_runs import (
    PARTITIONS,
    ROWS,
    THREE_DAYS,
    check_states,
    clicked_run,
    materializations,
    partition_badges,
    pipeline,
    send,
    send_garbage,
    supervised_run,
    versions,
)
from arrow_ingest_tests.lake_contents import make_topic_again


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS))


@dataclass(frozen=True)
class Published:
    """One supervised run over four messages of three days; tests only look at what it left."""

    config: PipelineConfig
    instance: dg.DagsterInstance


@pytest.fixture(scope="module")
def published(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("published")
    config = pipeline(folder, broker.bootstrap_servers, f"published-{os.getpid()}")
    with instance_in(folder / "dagster") as instance, Cluster(config.kafka) as cluster:
        cluster.create_topic(PARTITIONS)
        send(config, *THREE_DAYS, THREE_DAYS[0])
        assert supervised_run(config, instance).success
        yield Published(config, instance)
        cluster.delete_topic()


def test_one_run_that_touches_three_days_materialises_exactly_these(published: Published) -> None:
    found = materializations(published.config, published.instance)
    assert sorted(event.partition or "" for event in found) == sorted(THREE_DAYS)
    for event in found:
        assert event.metadata["rows"].value == (2 * ROWS if event.partition == THREE_DAYS[0] else ROWS)
        assert event.metadata["dagster/partition_row_count"].value == event.metadata["rows"].value
        assert event.metadata["snapshot"].value == int((event.tags or {})["dagster/data_version"])
        lineage, schema = (event.metadata[f"dagster/column_{kind}"].value for kind in ("lineage", "schema"))
        topic = Names.of(published.config).topic
        assert lineage.deps_by_column["event"] == [dg.TableColumnDep(topic, "event")]
        assert lineage.deps_by_column["_kafka_offset"] == []
        assert [column.description for column in schema.columns if column.name == "event"] == [
            f"from {published.config.kafka.topic}: event"
        ]


def test_sums_of_the_window_stand_on_its_last_materialisation_and_gauges_on_each(published: Published) -> None:
    *others, last = found = materializations(published.config, published.instance)
    for event in found:
        assert {"mb_per_second", "commit_ms", "lag"} <= event.metadata.keys()
        assert event.metadata["lag"].value == 0
    assert {"bytes_received", "bytes_copied"} <= last.metadata.keys()
    assert not any("bytes_received" in event.metadata for event in others)


def test_every_check_of_the_pipeline_passes(published: Published) -> None:
    states = check_states(published.config, published.instance)
    assert states == dict.fromkeys(PIPELINE_CHECKS, True)


def test_the_time_travel_query_runs_as_it_is_shown(published: Published) -> None:
    for event in materializations(published.config, published.instance):
        shown = event.metadata["time_travel"].value
        assert isinstance(shown, str)
        with open_lake(published.config.lake, read_only=True) as lake:
            found = lake.execute(shown.removeprefix("```sql").removesuffix("```"))
        assert len(found) == event.metadata["rows"].value


def test_each_day_shows_its_check_and_is_not_stale(published: Published) -> None:
    badges = partition_badges(published.config, published.instance)
    assert sorted(day or "" for day in badges) == sorted(THREE_DAYS)
    for badge in badges.values():
        assert badge.latest_target_materialization_storage_id == badge.latest_materialization_storage_id
    names = Names.of(published.config)
    published.instance.report_runless_asset_event(dg.AssetObservation(names.topic, metadata={"lag": 0}))
    graph = pipeline_definitions(published.config).resolve_asset_graph()
    stale = CachingStaleStatusResolver(published.instance, graph, LoadingContextForTest(published.instance))
    assert [stale.get_status(names.table, day) for day in THREE_DAYS] == [StaleStatus.FRESH] * 3


@pytest.mark.parametrize(
    ("checks", "tags", "answers"),
    [
        (set(PIPELINE_CHECKS), {}, len(PIPELINE_CHECKS)),
        ({Check.LAG}, {}, 1),
        (set(PARTITION_CHECKS), {"dagster/partition": THREE_DAYS[0]}, len(PARTITION_CHECKS)),
        ({Check.ROWS_ACCOUNTED_FOR}, {}, len(THREE_DAYS)),
    ],
    ids=["all of the pipeline's", "one", "of one day", "of all days"],
)
def test_checks_run_alone_while_a_lane_is_being_drained(
    published: Published, checks: set[Check], tags: dict[str, str], answers: int
) -> None:
    config = published.config
    job = pipeline_definitions(config).resolve_implicit_global_asset_job_def()
    selected = {dg.AssetCheckKey(Names.of(config).table, check) for check in checks}
    alone = job.get_subset(asset_selection=set(), asset_check_selection=selected)
    with catalog_of(config.lake).lane_lock(config.name, 0, holder="a run"):
        told = alone.execute_in_process(instance=published.instance, tags=tags).get_asset_check_evaluations()
    assert {evaluation.check_name for evaluation in told} == checks
    assert len(told) == answers
    # The days were over long before they were sent.
    assert {evaluation.check_name for evaluation in told if not evaluation.passed} == {Check.LATE_ROWS} & checks


def test_checks_that_others_told_in_the_middle_of_a_run_are_current_again_at_its_end(
    config: PipelineConfig, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(config, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    send(config, THREE_DAYS[0])
    real_drain = table_asset.drain

    def drain_after_others_have_spoken(*given: Any, **named: Any) -> Iterator[Receipt | None]:
        alone = (
            pipeline_definitions(config)
            .resolve_implicit_global_asset_job_def()
            .get_subset(
                asset_selection=set(),
                asset_check_selection={dg.AssetCheckKey(Names.of(config).table, check) for check in Check},
            )
        )
        assert alone.execute_in_process(instance=instance).success
        yield from real_drain(*given, **named)

    monkeypatch.setattr(table_asset, "drain", drain_after_others_have_spoken)
    assert supervised_run(config, instance).success
    [newest] = instance.fetch_materializations(Names.of(config).table, limit=1).records
    keys = [dg.AssetCheckKey(Names.of(config).table, check) for check in Check]
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
        target = record.evaluation.target_materialization_data if record and record.evaluation else None
        assert target is not None, key
        assert target.storage_id == newest.storage_id, key


def test_runs_that_take_turns_in_telling_of_one_day_all_go_on(
    published: Published, instance: dg.DagsterInstance
) -> None:
    config, day = published.config, THREE_DAYS[0]

    @dg.op
    def tell(context: dg.OpExecutionContext) -> None:
        Publisher(config, context).publish([day])

    @dg.op
    def take_turns(context: dg.OpExecutionContext) -> None:
        publisher = Publisher(config, context)
        for _ in range(3):
            publisher.publish([day])
            assert in_a_run_of_its_own(tell).success

    def in_a_run_of_its_own(op: dg.OpDefinition) -> dg.ExecuteInProcessResult:
        return dg.GraphDefinition("told", node_defs=[op]).execute_in_process(instance=instance)

    assert in_a_run_of_its_own(take_turns).success
    newest = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=Names.of(config).table, asset_partitions=[day]), limit=1
    ).records[0]
    badge = partition_badges(config, instance)[day]
    assert badge.latest_target_materialization_storage_id == newest.storage_id


def test_a_new_dagster_home_is_told_everything_again(published: Published, instance: dg.DagsterInstance) -> None:
    assert supervised_run(published.config, instance).success
    assert versions(published.config, instance) == versions(published.config, published.instance)


def test_a_late_event_gives_its_old_day_a_new_version_and_leaves_the_others(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS)
    assert supervised_run(config, instance).success
    before = versions(config, instance)
    send(config, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    after = versions(config, instance)
    assert after.pop(THREE_DAYS[0]) > before.pop(THREE_DAYS[0])
    assert after == before
    assert supervised_run(config, instance).success
    assert len(materializations(config, instance)) == len(THREE_DAYS) + 1, "without work nothing is published again"


def test_what_a_run_committed_and_never_published_is_published_by_the_next(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS)
    assert sum(receipt is not None for receipt in drain(config, run_id="died after COMMIT")) == 1
    assert supervised_run(config, instance).success
    assert sorted(event.partition or "" for event in materializations(config, instance)) == sorted(THREE_DAYS)


def test_what_one_run_leaves_because_another_publishes_is_told_by_the_next(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS)
    with catalog_of(config.lake).publisher_lock(config.name, holder="another run") as is_mine:
        assert is_mine
        assert supervised_run(config, instance).success
        assert materializations(config, instance) == []
    assert supervised_run(config, instance).success
    assert versions(config, instance).keys() == set(THREE_DAYS)


def test_a_publication_cut_short_is_taken_up_where_it_ended(
    config: PipelineConfig, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(config, *THREE_DAYS)
    log_event, left = dg.AssetExecutionContext.log_event, [1]

    def die_after_one(context: dg.AssetExecutionContext, event: object) -> None:
        if isinstance(event, dg.AssetMaterialization):
            if not left:
                raise OSError("the process ends here")
            left.pop()
        log_event(context, event)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(dg.AssetExecutionContext, "log_event", die_after_one)
        assert not supervised_run(config, instance).success
    assert len(materializations(config, instance)) == 1
    assert supervised_run(config, instance).success
    assert versions(config, instance).keys() == set(THREE_DAYS)


def test_materialize_publishes_the_day_it_was_asked_for_and_what_it_drained(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, THREE_DAYS[0])
    assert clicked_run(config, instance, dagster__partition=THREE_DAYS[2]).success
    assert versions(config, instance).keys() == {THREE_DAYS[0], THREE_DAYS[2]}
    assert versions(config, instance)[THREE_DAYS[2]] == 0


def test_a_backfill_of_a_range_is_one_run_that_emits_every_day(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, THREE_DAYS[1])
    tags = {"dagster__asset_partition_range_start": "2026-02-27", "dagster__asset_partition_range_end": THREE_DAYS[2]}
    assert clicked_run(config, instance, **tags).success
    assert versions(config, instance).keys() == {"2026-02-27", "2026-02-28", *THREE_DAYS}
    assert len(materializations(config, instance)) == 5


def test_materialize_while_the_lane_is_busy_drains_nothing_and_publishes(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    send(config, THREE_DAYS[1])
    with catalog_of(config.lake).lane_lock(config.name, 0, holder="another run"):
        assert clicked_run(config, instance, dagster__partition=THREE_DAYS[0]).success
    assert [event.partition for event in materializations(config, instance)] == [THREE_DAYS[0], THREE_DAYS[0]]


def test_a_supervised_run_of_a_busy_lane_ends_quietly_and_says_so_to_the_sensor(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    with catalog_of(config.lake).lane_lock(config.name, 0, holder="another run"):
        result = supervised_run(config, instance)
    assert result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[LANE_STATE_TAG] == "busy"


def test_a_run_of_another_layout_than_the_lake_s_says_which_command_changes_it(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    result = supervised_run(config.model_copy(update={"lanes": 4}), instance)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (result.success, run.tags[LANE_STATE_TAG]) == (False, "layout")
    failure = result.failure_data_for_node(Names.of(config).op)
    assert failure is not None
    assert "layout 1 in the lake, 4 in the YAML: run `arrow-ingest lanes apply" in str(failure.user_failure_data)


def test_a_topic_made_again_suspends_the_lane_and_turns_the_check_red(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    make_topic_again(config)
    result = supervised_run(config, instance)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[LANE_STATE_TAG] == "topic_recreated"
    failure = result.failure_data_for_node(Names.of(config).op)
    assert failure is not None
    assert "arrow-ingest rebase events" in str(failure.user_failure_data)
    assert not check_states(config, instance)[Check.NOT_SUSPENDED]


def test_poison_and_days_out_of_range_and_new_columns_are_said_and_stay_said_for_the_run(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    send_garbage(config)
    send(config, "1999-12-31", THREE_DAYS[0], extra={"browser": ["Firefox"] * ROWS})
    assert supervised_run(config, instance).success
    said = check_states(config, instance)
    failed = {check for check, passed in said.items() if not passed}
    assert failed == {Check.DEAD_LETTERS, Check.OUT_OF_RANGE_DAYS, Check.SCHEMA_DRIFT}
    assert versions(config, instance).keys() == {THREE_DAYS[0]}


def test_rows_that_somebody_deleted_fail_the_check_of_their_day(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS)
    assert supervised_run(config, instance).success
    with open_lake(config.lake) as lake:
        lake.execute("DELETE FROM lake.main.events WHERE day(timestamp) = 2 AND _kafka_row = 3")
    send(config, THREE_DAYS[1])
    assert supervised_run(config, instance).success
    badges = partition_badges(config, instance)
    assert [day for day, badge in badges.items() if badge.latest_execution_status.value == "FAILED"] == [THREE_DAYS[1]]


def test_an_unpartitioned_table_is_one_asset_with_the_same_checks(
    broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    config = pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS), is_partitioned=False)
    send(config, *THREE_DAYS)
    assert supervised_run(config, instance).success
    (event,) = materializations(config, instance)
    assert event.partition is None
    assert event.metadata["dagster/row_count"].value == 3 * ROWS
    assert event.metadata[PUBLISHED_THROUGH].value == event.metadata["snapshot"].value
    assert clicked_run(config, instance).success


def test_termination_publishes_what_was_committed_and_frees_the_lane(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    run = {"until": "deadline", "linger_seconds": 100.0, "report_every_seconds": 100.0}
    patient = config.model_copy(
        update={
            "run": config.run.model_copy(update=run),
            "flush": config.flush.model_copy(update={"max_age_seconds": 0.1}),
        }
    )
    send(config, THREE_DAYS[0])

    def terminate_after_the_first_commit() -> None:
        deadline, newest = time.monotonic() + 60, None
        while newest is None and time.monotonic() < deadline:
            time.sleep(0.05)
            with suppress(TransientError):  # the run is making the lake
                newest = read_view(config).newest
        os.kill(os.getpid(), signal.SIGINT)  # Dagster's own signal; it raises on this process's main thread

    operator = threading.Thread(target=terminate_after_the_first_commit)
    operator.start()
    result = supervised_run(patient, instance)
    operator.join()
    assert not result.success
    assert versions(config, instance).keys() == {THREE_DAYS[0]}
    with catalog_of(config.lake).lane_lock(config.name, 0, holder="the next run"):
        pass
