"""What is published, in which order, and what a publisher that dies leaves for the next: laws over any ledger."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.components.publication import Publication, publications
from arrow_ingest.lake.ledger import LedgerEntry, PartitionTotal
from arrow_ingest.values import CommitKind, Tally, TouchedPartition

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "1999-12-31", None)
DECLARED = frozenset(DAYS[:3])


def commit(snapshot_id: int, days: Sequence[str | None]) -> LedgerEntry:
    return LedgerEntry(
        commit_id=str(snapshot_id),
        pipeline="events",
        lane=0,
        generation=0,
        topic_id="id",
        ranges=(),
        tally=Tally(),
        touched=tuple(TouchedPartition(day, 1, 1, 1) for day in days),
        kind=CommitKind.INGEST,
        run_id="run",
        committed_at=datetime(2026, 3, 1, tzinfo=UTC),
        snapshot_id=snapshot_id,
    )


ledgers = st.lists(st.lists(st.sampled_from(DAYS), unique=True), max_size=12).map(
    lambda touched: [commit(number, days) for number, days in enumerate(touched, start=1)]
)


def plan(ledger: Sequence[LedgerEntry], *, since: int = 0, requested: Sequence[str] = ()) -> tuple[Publication, ...]:
    totals = {
        day: PartitionTotal(rows=1, files=1, size_bytes=1, last_snapshot=max(touching))
        for day in DAYS
        if (touching := [entry.snapshot_id for entry in ledger if day in {part.value for part in entry.touched}])
    }
    return publications(
        [entry for entry in ledger if entry.snapshot_id > since],
        totals,
        since=since,
        requested=requested,
        declared=DECLARED,
    )


def newest(ledger: Sequence[LedgerEntry]) -> dict[str | None, int]:
    """Of each declared day, the newest snapshot that touched it."""
    return {part.value: entry.snapshot_id for entry in ledger for part in entry.touched if part.value in DECLARED}


@given(ledger=ledgers)
def test_every_touched_day_is_published_once_with_its_newest_snapshot(ledger: list[LedgerEntry]) -> None:
    planned = plan(ledger)
    assert {each.value: each.version for each in planned} == newest(ledger)
    assert len(planned) == len(newest(ledger))


@given(ledger=ledgers, deaths=st.lists(st.integers(0, 4), max_size=6), grown=st.lists(st.integers(1, 12), max_size=6))
def test_publishers_that_die_anywhere_leave_every_day_to_the_next_at_its_newest_version(
    ledger: list[LedgerEntry], deaths: list[int], grown: list[int]
) -> None:
    versions: dict[str | None, int] = {}
    since = 0
    steps = [*zip(deaths, sorted(grown), strict=False), (len(DAYS), len(ledger))]
    for survived, length in steps:
        for each in plan(ledger[:length], since=since)[:survived]:
            assert each.version >= versions.get(each.value, 0), "a data version went back"
            assert each.published_through >= since
            versions[each.value], since = each.version, each.published_through
    assert versions == newest(ledger)


@given(ledger=ledgers, since=st.integers(0, 12), requested=st.lists(st.sampled_from(DAYS[:3]), unique=True))
def test_requested_days_are_published_whether_touched_or_not(
    ledger: list[LedgerEntry], since: int, requested: list[str]
) -> None:
    planned = plan(ledger, since=since, requested=requested)
    assert {each.value for each in planned} >= set(requested)
    assert all(each.version == newest(ledger).get(each.value, 0) for each in planned)
    assert all(each.published_through >= since for each in planned)
