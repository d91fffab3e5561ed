"""`verify` finds every kind of damage that is done to a real lake, and nothing where nothing is wrong."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.lake import lanes
from arrow_ingest.lake.accounting import check_rows
from arrow_ingest.lake.commit_offsets import CommitOffsets, windows
from arrow_ingest.lake.findings import Code, Severity, VerifyReport
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.values import (
    Position,
    SuspendReason,
    TopicState,
)
from arrow_ingest_tests.drained_lake import ROWS, TABLE, TOPIC_ID, Drained


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two commits, three messages per partition each; the second one also has one empty and two dead ones."""
    folder = tmp_path_factory.mktemp("whole") / "lake"
    made = Drained(folder)
    with made.lake:
        made.commit()
        made.commit(empty=1, dead=2)
    shutil.copytree(folder, folder.with_name("copy"))
    return folder


@pytest.fixture
def drained(whole: Path) -> Iterator[Drained]:
    """That lake, as it was; it stays in its place, since a lake knows its own data path."""
    shutil.rmtree(whole)
    shutil.copytree(whole.with_name("copy"), whole)
    made = Drained(whole)
    with made.lake:
        yield made


def topic(drained: Drained, **changes: Any) -> Callable[[], TopicState]:
    """A broker that holds all that was read, save for ``changes``."""
    high = drained.state.offsets
    says = {"topic": "events", "topic_id": TOPIC_ID, "low": dict.fromkeys(high, 0), "high": high} | changes
    return lambda: TopicState(**says)


# Nothing wrong


def test_a_lake_as_it_should_be_has_no_findings(drained: Drained) -> None:
    for arguments in ({}, {"full": True}, {"strict": True, "topic": topic(drained)}, {"sample": 0.5}):
        report = drained.verify(**arguments)
        assert report.ok
        assert report.findings == ()
    rows = 12 * ROWS
    report = drained.verify()
    assert report.numbers["rows"] == rows
    assert (report.numbers["commits"], report.numbers["messages"], report.numbers["dead_letters"]) == (2, 15, 2)
    assert report.numbers["files"] == len(list(Path(drained.config.lake.data_path).rglob("*.parquet")))


def test_a_lake_that_nothing_was_drained_into_is_fine(tmp_path: Path) -> None:
    empty = Drained(tmp_path)
    with empty.lake:
        assert empty.verify(full=True) == VerifyReport(ok=True, findings=(), numbers=empty.verify().numbers)


def test_a_pipeline_that_never_ran_has_no_findings(drained: Drained) -> None:
    table = drained.config.lake.model_copy(update={"table": "others"})
    never_ran = drained.config.model_copy(update={"name": "others", "lake": table})
    with open_lake(drained.config.lake, read_only=True) as lake:
        report = verify(lake, never_ran, full=True)
    assert (report.ok, report.numbers["commits"], report.numbers["files"]) == (True, 0, 0)


def test_compaction_expiry_and_schema_changes_are_no_findings(drained: Drained) -> None:
    drained.lake.execute(f"ALTER TABLE {TABLE} ADD COLUMN added INTEGER")
    drained.lake.execute("CALL ducklake_merge_adjacent_files('lake', 'events')")
    drained.lake.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    drained.lake.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    assert drained.verify(full=True, strict=True).findings == ()


def test_it_goes_on_from_where_the_last_report_ended(drained: Drained) -> None:
    before = drained.verify().numbers["snapshot"]
    drained.commit()
    report = drained.verify(since=before)
    assert (report.ok, report.numbers["commits"], report.numbers["rows"]) == (True, 1, 6 * ROWS)
    assert drained.verify(since=report.numbers["snapshot"]).numbers["commits"] == 0


# Rows


def test_rows_that_somebody_deleted_are_reported_with_author_and_are_no_loss(drained: Drained) -> None:
    drained.damage(f"DELETE FROM {TABLE} WHERE n = 5", author="bob")
    report = drained.verify()
    assert report.ok
    assert {finding.code for finding in report.findings} == {Code.ROWS_DELETED}
    assert all(finding.severity is Severity.WARNING and "bob" in finding.detail for finding in report.findings)
    assert not drained.verify(strict=True).ok


def test_a_message_deleted_whole_is_reported_with_author(drained: Drained) -> None:
    drained.damage(f"DELETE FROM {TABLE} WHERE _kafka_offset = 1")
    assert drained.found() == [Code.ROWS_DELETED]


def test_rows_whose_deletion_no_snapshot_tells_of_are_missing(drained: Drained) -> None:
    drained.damage(f"DELETE FROM {TABLE} WHERE n = 5")
    drained.lake.execute("CALL ducklake_rewrite_data_files('lake', 'events', delete_threshold => 0)")
    drained.lake.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    drained.lake.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    report = drained.verify()
    assert not report.ok
    assert {finding.code for finding in report.findings} == {Code.ROWS_MISSING}


def test_rows_that_somebody_added_are_reported_with_author(drained: Drained) -> None:
    drained.damage(
        f"INSERT INTO {TABLE} (n) VALUES (1), (2)",
        f"INSERT INTO {TABLE} (_kafka_generation, _kafka_partition, _kafka_offset, _kafka_row) VALUES (0, 0, 999, 0)",
        author="carol",
    )
    report = drained.verify()
    assert report.ok
    ((finding,),) = (report.findings,)
    assert finding.code is Code.ROWS_ADDED
    assert "carol" in finding.detail
    assert "3 rows" in finding.detail


def test_rows_that_somebody_changed_are_still_there(drained: Drained) -> None:
    drained.damage(f"UPDATE {TABLE} SET n = -1 WHERE n = 5")
    assert drained.found(strict=True) == []


def test_a_file_added_twice_is_found(drained: Drained, tmp_path: Path) -> None:
    (path,) = drained.commit(messages=1)[:1]
    drained.damage(f"CALL ducklake_add_data_files('lake', 'events', '{path.path}', schema => 'main')")
    report = drained.verify()
    assert not report.ok
    assert {finding.code for finding in report.findings} == {Code.DUPLICATE_ROWS}


def test_rows_lost_and_others_doubled_do_not_cancel_out(drained: Drained) -> None:
    drained.damage(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE n = 3", f"DELETE FROM {TABLE} WHERE n = 5")
    assert drained.found() == [Code.DUPLICATE_ROWS, Code.ROWS_DELETED]


def test_rows_of_a_message_that_was_none_are_found(drained: Drained) -> None:
    empty_offset = 3 + 3  # the second commit's messages end here
    drained.damage(
        f"INSERT INTO {TABLE} (_kafka_generation, _kafka_partition, _kafka_offset, _kafka_row) "
        f"VALUES (0, 0, {empty_offset}, 0)"
    )
    assert drained.found() == [Code.ROWS_UNEXPECTED]


def test_rows_that_took_another_number_are_found(drained: Drained) -> None:
    drained.damage(f"UPDATE {TABLE} SET _kafka_row = 99 WHERE _kafka_row = 0 AND _kafka_offset = 0")
    assert Code.ROW_NUMBERS in drained.found()


def test_rows_that_took_another_messages_place_are_found(drained: Drained) -> None:
    drained.damage(f"UPDATE {TABLE} SET _kafka_offset = 4 WHERE _kafka_offset = 5 AND _kafka_partition = 0")
    assert drained.found() == [Code.DUPLICATE_ROWS, Code.ROWS_DELETED]


# Dead letters


def test_dead_letters_that_are_gone_are_found(drained: Drained) -> None:
    drained.damage(f'DELETE FROM {TABLE}__dead_letters WHERE "offset" % 2 = 0')
    assert drained.found() == [Code.DEAD_LETTERS_MISCOUNTED]


def test_a_message_that_is_dead_and_alive_is_found(drained: Drained) -> None:
    drained.damage(f'UPDATE {TABLE}__dead_letters SET "offset" = 4 WHERE "offset" = 7')
    assert drained.found() == [Code.DEAD_AND_ALIVE]


# Files


def test_a_missing_file_is_found(drained: Drained) -> None:
    victim = next(Path(drained.config.lake.data_path).rglob("*.parquet"))
    victim.unlink()
    report = drained.verify()
    assert not report.ok
    assert [finding.code for finding in report.findings] == [Code.FILE_MISSING]
    assert str(victim) in report.findings[0].detail
    assert drained.found(since=10**6) == [Code.FILE_MISSING]


def test_a_missing_file_of_deletions_is_found(drained: Drained) -> None:
    """As a lost answer to the COMMIT of a DELETE leaves it: DuckLake then removes what the snapshot needs."""
    drained.damage(f"DELETE FROM {TABLE} WHERE n = 5")
    victim = next(Path(drained.config.lake.data_path).rglob("*-delete.parquet"))
    victim.unlink()
    report = drained.verify()
    assert [finding.code for finding in report.findings] == [Code.FILE_MISSING]
    assert str(victim) in report.findings[0].detail


def test_a_file_that_was_cut_short_is_found(drained: Drained) -> None:
    victim = next(Path(drained.config.lake.data_path).rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-10])
    assert drained.found() == [Code.FILE_DIFFERS, Code.FILE_UNREADABLE]


def test_a_file_whose_footer_is_damaged_is_found(drained: Drained) -> None:
    victim = next(Path(drained.config.lake.data_path).rglob("*.parquet"))
    content = victim.read_bytes()
    victim.write_bytes(content[:-200] + bytes(192) + content[-8:])
    assert drained.found() == [Code.FILE_UNREADABLE]


def test_a_damaged_page_is_found_when_every_page_is_decoded(drained: Drained) -> None:
    victim = next(Path(drained.config.lake.data_path).rglob("*.parquet"))
    content = victim.read_bytes()
    victim.write_bytes(content[:4] + bytes(200) + content[204:])
    assert drained.found(full=True) == [Code.FILE_UNREADABLE]


# Ledger, lanes, topic


def test_an_offset_that_moved_by_itself_is_found(drained: Drained) -> None:
    for offsets in ("[9, 5]", "[8, 6]"):
        drained.damage(f"UPDATE lake.arrow_ingest.lanes_events_0 SET offsets = {offsets}")
        assert drained.found() == [Code.OFFSET_MOVED]


def test_a_gap_in_the_ledger_is_found(drained: Drained) -> None:
    drained.commit()
    second = commits_since(drained.lake, "events", 0)[1].commit_id
    drained.damage(f"DELETE FROM lake.arrow_ingest.commits WHERE commit_id = '{second}'")
    report = drained.verify()
    assert not report.ok
    assert Code.LEDGER_GAP in {finding.code for finding in report.findings}
    assert Code.ROWS_ADDED in {finding.code for finding in report.findings}


def test_ranges_that_overlap_are_found(drained: Drained) -> None:
    drained.damage("INSERT INTO lake.arrow_ingest.commits SELECT * FROM lake.arrow_ingest.commits")
    assert Code.LEDGER_OVERLAP in drained.found()


def test_a_ledger_that_claims_more_messages_than_offsets_is_found(drained: Drained) -> None:
    drained.damage("UPDATE lake.arrow_ingest.commits SET messages = messages + 5")
    assert drained.found() == [Code.MESSAGES_MISCOUNTED]


def test_offsets_that_an_operator_gave_up_stay_visible(drained: Drained) -> None:
    suspended = lanes.suspend(drained.lake, drained.state, SuspendReason.LOG_TRUNCATED, "gone")
    further = {partition: Position(offset + 10) for partition, offset in suspended.offsets.items()}
    drained.state = lanes.resume(drained.lake, suspended, positions=further, run_id="test")
    drained.commit()
    report = drained.verify()
    assert report.ok
    assert [finding.code for finding in report.findings] == [Code.OFFSETS_GIVEN_UP]


def test_a_new_generation_is_accounted_for_apart(drained: Drained) -> None:
    positions = dict.fromkeys((0, 1), Position(0))
    drained.state = lanes.rebase(drained.lake, drained.state, topic_id="topic-id-b", positions=positions, run_id="test")
    assert drained.found(strict=True) == []
    drained.commit()
    assert drained.found(strict=True) == []
    drained.damage("UPDATE lake.arrow_ingest.commits SET topic_id = 'other' WHERE generation = 1 AND kind = 'ingest'")
    assert drained.found() == [Code.TOPIC_ID_DIFFERS]


@pytest.mark.parametrize(
    ("changes", "code", "ok"),
    [
        ({"topic_id": "another"}, Code.TOPIC_RECREATED, True),
        ({"low": {0: 10, 1: 10}, "high": {0: 99, 1: 99}}, Code.LOG_TRUNCATED, False),
        ({"high": {0: 1, 1: 1}}, Code.BEYOND_LOG, False),
    ],
)
def test_a_log_that_is_not_what_the_lane_read_is_found(
    drained: Drained, changes: dict[str, Any], code: Code, ok: bool
) -> None:
    report = drained.verify(topic=topic(drained, **changes))
    assert report.ok is ok
    assert {finding.code for finding in report.findings} == {code}


# Windows


def test_the_size_of_windows_changes_no_answer(drained: Drained) -> None:
    drained.commit()
    entries = commits_since(drained.lake, "events", 0)
    assert [len(window) for window in windows(entries, CommitOffsets(()), most_rows=250)] == [2, 1]
    one_message = list(windows(entries, CommitOffsets(()), most_rows=1))
    assert {len(window) for window in one_message} == {1}
    parts = [(piece.commit, part) for window in one_message for piece in window for part in piece.ranges]
    assert all(part.count == 1 for _, part in parts)
    assert sorted((commit, part.partition, part.start) for commit, part in parts) == [
        (commit, part.partition, offset)
        for commit, entry in enumerate(entries)
        for part in entry.ranges
        for offset in range(part.start, part.stop)
    ]
    drained.damage(f"DELETE FROM {TABLE} WHERE _kafka_offset IN (0, 4)")
    one_by_one, at_once = (
        list(check_rows(drained.lake, drained.config.lake, entries, has_table=True, window_rows=rows))
        for rows in (1, 10**6)
    )
    assert one_by_one == at_once
    assert len(at_once) == 2
