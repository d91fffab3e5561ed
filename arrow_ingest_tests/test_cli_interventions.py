"""resume and rebase: what an operator can do about a suspended lane."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import ConfigError, LaneSuspended, SuspendReason
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import lanes
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.interventions import positions_to_rebase, positions_to_resume, skipped
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.project import load_pipelines
from arrow_ingest.values import LaneState, Position, TopicState
from arrow_ingest_tests.cli_project import CliProject, cli_project

LANE = LaneState("clicks", 0, 1, 0, "id-1", {0: Position(5, 3), 1: Position(9)})


def topic_state(low: dict[int, int], high: dict[int, int], topic_id: str = "id-1") -> TopicState:
    return TopicState("clicks", topic_id, low=low, high=high)


@pytest.fixture
def project(tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]) -> CliProject:
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks=topic(partitions=2))
    project.run("produce", "--batches", "4", "--rate", "0", "--rows-per-batch", "20")
    project.run("drain")
    return project


def config_of(project: CliProject) -> PipelineConfig:
    [config] = load_pipelines(project.folder)
    return config


def suspend(project: CliProject, reason: SuspendReason) -> dict[int, int]:
    """Suspend the lane as a run does; its offsets."""
    config = config_of(project)
    with open_lake(config.lake) as lake:
        state = lanes.read_lane(lake, config.name, 0)
        assert state is not None
        return lanes.suspend(lake, state, reason, "as a test").offsets


def test_suspended_lane_is_not_drained_and_goes_on_after_resume(project: CliProject) -> None:
    suspend(project, SuspendReason.DEAD_LETTER_BUDGET)
    assert "once the cause is found, `arrow-ingest resume` goes on" in project.run("drain", exit_code=4).stderr
    status = project.run("status", exit_code=4).stdout
    assert "SUSPENDED (dead_letter_budget): as a test. `arrow-ingest dead-letters list` says why" in status
    [change] = project.json("resume")
    assert (change["was"], change["given_up"]) == ("dead_letter_budget", [])
    project.run("drain")
    assert project.json("status")[0]["lag"] == 0


def test_resume_without_a_suspended_lane_changes_nothing(project: CliProject) -> None:
    assert project.json("resume") == []
    assert "no lane is suspended" in project.run("resume").stdout


def test_skipped_record_is_a_gap_in_the_ledger(project: CliProject) -> None:
    offsets = suspend(project, SuspendReason.CORRUPT_RECORD)
    ahead = offsets[0] + 1
    kafka = config_of(project).kafka
    with ArrowProducer(kafka.topic, {"bootstrap.servers": kafka.bootstrap_servers}) as producer:
        producer.send_payload(b"cannot be read", partition=0)
    assert "--accept-loss" in project.run("resume", "--skip-to", f"0:{ahead}", exit_code=2).stderr
    assert "PARTITION:OFFSET" in project.run("resume", "--accept-loss", "--skip-to", "0", exit_code=2).stderr
    assert "cannot go on at" in project.run("resume", "--accept-loss", "--skip-to", "0:0", exit_code=2).stderr
    [change] = project.json("resume", "--accept-loss", "--skip-to", f"0:{ahead}")
    assert change["given_up"] == [{"partition": 0, "start": offsets[0], "stop": ahead}]
    assert project.json("status")[0]["commits"][0]["kind"] == "gap"


def test_topic_made_again_takes_a_rebase_and_keeps_every_row(project: CliProject) -> None:
    assert "nothing to rebase" in project.run("rebase", exit_code=2).stderr
    with Cluster(config_of(project).kafka) as cluster:
        cluster.delete_topic()
        cluster.create_topic(2)
    project.run("produce", "--batches", "2", "--rate", "0", "--rows-per-batch", "20")
    assert "`arrow-ingest rebase`" in project.run("drain", exit_code=4).stderr
    assert "was made again" in project.run("resume", "--accept-loss", exit_code=4).stderr
    [change] = project.json("rebase")
    assert (change["was"], change["generation"], set(change["next"].values())) == ("topic_recreated", 1, {0})
    project.run("drain")
    query = "SELECT _kafka_generation AS g, count(*) AS n FROM clicks GROUP BY ALL ORDER BY ALL"
    assert project.json("sql", query) == [{"g": 0, "n": 80}, {"g": 1, "n": 40}]


def test_lane_that_was_never_started_is_no_lane_to_rebase(tmp_path: Path, broker: EmbeddedBroker) -> None:
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks="clicks")
    assert "nothing committed yet" in project.run("rebase").stdout
    assert "no lane is suspended" in project.run("resume").stdout
    assert "was never started" in project.run("maintain", exit_code=2).stderr


def test_resume_goes_on_where_the_lane_stands_while_the_broker_holds_it() -> None:
    same = topic_state({0: 0, 1: 9}, {0: 5, 1: 20})
    assert positions_to_resume(LANE, same, accept_loss=False) == LANE.positions


def test_lost_records_are_given_up_only_when_the_loss_is_accepted() -> None:
    lost = topic_state({0: 7, 1: 0}, {0: 8, 1: 20})
    with pytest.raises(LaneSuspended, match=r"\[5, 7\)"):
        positions_to_resume(LANE, lost, accept_loss=False)
    assert positions_to_resume(LANE, lost, accept_loss=True) == {0: Position(7), 1: Position(9)}


def test_log_that_lost_its_end_is_never_resumed_but_rebased_at_its_end() -> None:
    shorter = topic_state({0: 7, 1: 0}, {0: 8, 1: 4})
    with pytest.raises(LaneSuspended) as caught:
        positions_to_resume(LANE, shorter, accept_loss=True)
    assert caught.value.reason is SuspendReason.LOG_TRUNCATED
    assert positions_to_rebase(LANE, shorter) == {0: Position(7), 1: Position(4)}


def test_new_topic_is_rebased_to_its_start_with_the_partitions_that_it_has() -> None:
    again = topic_state({0: 2, 1: 0, 2: 0}, {0: 8, 1: 4, 2: 1}, "id-2")
    assert positions_to_rebase(LANE, again) == {0: Position(2), 1: Position(0), 2: Position(0)}


def test_skipping_moves_forward_and_within_the_lane_only() -> None:
    assert skipped(LANE, {1: 12}).offsets == {0: 5, 1: 12}
    for partition, offset in ((0, 5), (1, 3), (7, 1)):
        with pytest.raises(ConfigError, match=f"partition {partition} cannot go on at {offset}"):
            skipped(LANE, {partition: offset})


def set_lanes(project: CliProject, lanes: int) -> None:
    """Edit the YAML as an operator does."""
    [file] = project.folder.rglob("defs.yaml")
    text = re.sub(r"\n  lanes: \d+", "", file.read_text()).rstrip()
    file.write_text(f"{text}\n  lanes: {lanes}\n")


def test_lanes_apply_moves_the_lake_to_the_lanes_of_the_yaml(project: CliProject) -> None:
    offsets = {str(part): offset for part, offset in lanes_offsets(project).items()}
    set_lanes(project, 2)
    sentence = "layout 1 in the lake, 2 in the YAML: run `arrow-ingest lanes apply clicks`"
    assert sentence in project.run("drain", exit_code=2).stderr
    assert sentence in project.run("status").stdout
    assert any(check["detail"] == sentence for check in project.json("doctor", exit_code=2)["checks"])
    changed = project.json("lanes apply")
    assert (changed["was"], changed["layout"]) == (1, 2)
    assert {part: at for lane in changed["lanes"] for part, at in lane["next"].items()} == offsets
    project.run("produce", "--batches", "4", "--rate", "0", "--rows-per-batch", "20")
    project.run("drain")
    assert project.json("status")[0]["lag"] == 0
    assert project.json("verify")[0]["ok"]
    assert "2 lanes already" in project.run("lanes apply").stdout


def lanes_offsets(project: CliProject) -> dict[int, int]:
    config = config_of(project)
    with open_lake(config.lake, read_only=True) as lake:
        return {part: at for lane in lanes.read_lanes(lake, config.name) for part, at in lane.offsets.items()}


def test_maintain_says_what_it_would_do_then_does_it_and_says_what_it_did(project: CliProject) -> None:
    for _ in range(2):
        project.run("produce", "--batches", "2", "--rate", "0", "--rows-per-batch", "20")
        project.run("drain")
    [file] = project.folder.rglob("defs.yaml")
    file.write_text(f"{file.read_text()}  maintenance: {{merge: {{min_files: 1, leave_newest: 0}}}}\n")
    rows = project.json("sql", "SELECT count(*) AS n FROM clicks")
    [planned] = project.json("maintain", "--dry-run", "--only", "merge")
    assert planned["dry_run"]
    assert planned["steps"][0]["files_merged"] > planned["steps"][0]["files_written"] > 0
    assert planned["before"] == planned["after"]
    [done] = project.json("maintain", "clicks")
    [merge] = [step for step in done["steps"] if step["step"] == "merge"]
    assert merge["files_merged"] == planned["steps"][0]["files_merged"]
    assert (merge["before"]["files"], merge["outcome"]) == (planned["before"]["files"], "done")
    assert merge["after"]["files"] == done["after"]["files"] < done["before"]["files"]
    assert project.json("sql", "SELECT count(*) AS n FROM clicks") == rows
    project.run("verify")
    assert "0 files would become 0" in project.run("maintain", "--dry-run").stdout
    assert "there is no step 'sweep'" in project.run("maintain", "--only", "sweep", exit_code=2).stderr


def test_rebase_leaves_lanes_alone_that_read_the_topic_as_it_is(project: CliProject) -> None:
    set_lanes(project, 2)
    project.run("lanes apply")
    config = config_of(project)
    with open_lake(config.lake) as lake:
        state = lanes.read_lane(lake, config.name, 1)
        assert state is not None
        lanes.rebase(lake, state, topic_id="an older topic", positions=state.positions, run_id="test")
    [change] = project.json("rebase")
    assert (change["lane"], change["generation"]) == (1, 2)
    assert "nothing to rebase" in project.run("rebase", exit_code=2).stderr
