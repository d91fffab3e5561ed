"""The commit protocol as a state machine: two runs of one lane, an operator, a broker, and faults at every statement.

In the end the faults stop, an operator puts right what only a person may, one more run reads to the end of the log, and
the lake is compared with what the broker ever held.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, LaneSuspended, StageFailed, StatementRefused, SuspendReason
from arrow_ingest.lake import lanes, ledger
from arrow_ingest.lake.accounting import check_rows
from arrow_ingest.lake.continuity import check_ledger, check_topic
from arrow_ingest.lake.findings import Severity
from arrow_ingest.lake.sql import in_lake
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.pipeline.interventions import positions_to_rebase, positions_to_resume
from arrow_ingest.values import CommitKind, LaneState
from arrow_ingest_tests.chaos.lane_run import LANE, LaneRun, World
from arrow_ingest_tests.chaos.memory_broker import TOPIC
from arrow_ingest_tests.chaos.memory_lake import Crash, Fault

STATEMENTS = 14
"""More than a commit needs, its second attempt apart."""

SLOTS = st.integers(0, 1)
PARTITIONS = st.integers(0, 2)
RECORDS = st.tuples(st.sampled_from(["1", "1", "2", "3", "0", "bad", "hole"]), st.booleans())
RARELY = st.sampled_from([False] * 9 + [True])
OTHERS = st.sampled_from(
    [
        "run",
        "run",
        "operator",
        "table",
        "late commit",
        "late commit",
        "topic made again",
        "retention",
        "more partitions",
    ]
)
FAULTS = st.dictionaries(st.integers(0, STATEMENTS), st.sampled_from(Fault), min_size=1, max_size=3)
WHOSE = {"extra": "VARCHAR", "theirs": "INTEGER"}
"""Columns that others add."""

SUSPENDED = SuspendReason.DEAD_LETTER_BUDGET


def pipeline_of(folder: Path, on_topic_recreated: str) -> PipelineConfig:
    """A pipeline over nothing but memory; dead letters, which are files, go below ``folder``."""
    attributes: dict[str, Any] = {
        "name": "events",
        "kafka": {"topic": TOPIC, "bootstrap_servers": "nowhere:1"},
        "lake": {"catalog": "sqlite:/nowhere/catalog.sqlite", "data_path": str(folder), "table": "events"},
        "on_topic_recreated": on_topic_recreated,
    }
    return PipelineConfig.model_validate(attributes)


class CommitProtocol(RuleBasedStateMachine):
    """One history.

    Attributes:
        folder: where dead letters are written, which are real files.
        histories: how many there were.
        damage: what the last ones left behind; rows lost, duplicated, and incidents that nobody was told of.
    """

    folder: ClassVar[Path]
    histories: ClassVar[int] = 0
    damage: ClassVar[Counter[str]] = Counter()

    @initialize(on_topic_recreated=st.sampled_from(["suspend", "new_generation"]))
    def begin(self, on_topic_recreated: str) -> None:
        self.world = World(pipeline_of(self.folder, on_topic_recreated))
        self.runs: list[LaneRun | None] = [None, None]
        self.started = 0
        for partition in (0, 1):
            self.world.broker.append(partition, 2, is_wide=False)

    @rule(partition=PARTITIONS, records=st.lists(RECORDS, min_size=1, max_size=4))
    def produce(self, partition: int, records: list[tuple[str, bool]]) -> None:
        broker = self.world.broker
        for what, is_wide in records:
            if what == "hole":
                broker.add_hole(partition % len(broker.now))
            else:
                broker.append(partition % len(broker.now), None if what == "bad" else int(what), is_wide=is_wide)

    @rule(slot=SLOTS)
    def start(self, slot: int) -> None:
        """A run begins, whatever became of the last one."""
        self.end_as_it_may(slot, lambda: self.new_run(slot))

    @rule(slot=SLOTS, partition=PARTITIONS, most=st.integers(1, 4), seals=st.booleans(), is_old=RARELY)
    def read(self, slot: int, partition: int, most: int, seals: bool, is_old: bool) -> None:
        if (run := self.running(slot)) is not None:
            self.end_as_it_may(slot, lambda: run.read(partition, most))
            if seals:
                run.seal(age=timedelta(days=3 if is_old else 0))

    @rule(slot=SLOTS, amid=st.tuples(st.integers(0, STATEMENTS), OTHERS))
    def commit_beside_others(self, slot: int, amid: tuple[int, str]) -> None:
        """The oldest sealed micro-batch, with somebody else at one of its statements."""
        at, who = amid
        self.commit_one(slot, {at: lambda: self.somebody_else(slot, who)})

    @rule(slot=SLOTS, faults=FAULTS, amid=st.tuples(st.integers(0, 2 * STATEMENTS), OTHERS))
    def commit_under_faults(self, slot: int, faults: dict[int, Fault], amid: tuple[int, str]) -> None:
        """The same with faults too, which make for more attempts."""
        at, who = amid
        self.commit_one(slot, {at: lambda: self.somebody_else(slot, who), **faults})

    @rule(slot=SLOTS)
    def commit_a_column_that_another_lane_adds(self, slot: int) -> None:
        """Rows of a wide record are staged by then."""
        self.world.broker.append(0, 1, is_wide=True)
        self.commit_one(slot, {0: self.change_the_table})

    @rule(what=st.sampled_from(["suspend", "resume", "rebase"]), fault=st.none() | st.sampled_from(Fault))
    def operate(self, what: str, fault: Fault | None) -> None:
        if fault is not None and fault is not Fault.CONFLICT:  # which is waited out, in real time
            self.world.catalog.statement, self.world.catalog.faults = 0, {4: fault}
        self.end_as_it_may(None, lambda: self.operator(what))
        self.world.catalog.faults = {}

    @rule(who=OTHERS)
    def change(self, who: str) -> None:
        self.somebody_else(0, who)

    def commit_one(self, slot: int, faults: Mapping[int, "Fault | Callable[[], object]"]) -> None:
        if (run := self.running(slot)) is None:
            return
        if run.is_at_end:
            self.world.broker.append(0, 1, is_wide=False)
        self.end_as_it_may(slot, run.fill)
        if self.runs[slot] is run:
            self.world.catalog.statement, self.world.catalog.faults = 0, dict(faults)
            self.end_as_it_may(slot, run.commit)
            self.world.catalog.faults = {}

    def running(self, slot: int) -> LaneRun | None:
        """The run in ``slot``, begun if there is none; None if it may not begin."""
        if self.runs[slot] is None:
            self.end_as_it_may(slot, lambda: self.new_run(slot))
        return self.runs[slot]

    def somebody_else(self, slot: int, who: str) -> None:
        """What happens amid a commit of the run in ``slot``."""
        other = self.runs[1 - slot]
        if who == "run" and other is not None:
            other.seal()
            self.end_as_it_may(1 - slot, other.commit)
        elif who == "operator":
            self.end_as_it_may(None, lambda: self.operator("rebase" if self.started % 2 else "suspend"))
        elif who == "table":
            self.change_the_table()
        elif who == "late commit" and self.world.catalog.delayed:
            self.world.catalog.land_delayed()
        else:
            self.change_the_topic(who)

    def change_the_topic(self, what: str) -> None:
        broker = self.world.broker
        if what == "topic made again":
            lengths = [len(log.records) for log in broker.now.values()]
            broker.make_again(len(lengths))
            for partition, length in enumerate(lengths):  # as long or longer: no offset tells it from the old one
                for _ in range(length + 1):
                    broker.append(partition, 1, is_wide=False)
        elif what == "retention":
            broker.cut_start(0, 2)
        elif what == "more partitions" and len(broker.now) < 3:
            broker.add_partition()

    def change_the_table(self) -> None:
        """Another lane adds the column that wide records bring, or somebody one of their own."""
        table = self.world.config.lake
        with self.world.catalog.undisturbed(), self.world.catalog.session() as lake:
            schema = read_table_schema(lake, table)
            known = {column.name for column in schema.columns} if schema is not None else WHOSE.keys()
            for name in [name for name in WHOSE if name not in known][:1]:
                lake.execute(f"ALTER TABLE {in_lake(table.schema_name, table.table)} ADD COLUMN {name} {WHOSE[name]}")

    def operator(self, what: str) -> None:
        """As `pipeline.interventions` decides it; what it asks of locks and of a real broker is left out."""
        with self.world.catalog.session() as lake:
            state = lanes.read_lane(lake, self.world.config.name, LANE)
            topic = self.world.broker.topic_state()
            if state is None:
                return
            if what == "suspend":
                lanes.suspend(lake, state, SUSPENDED, "by hand")
            elif what == "resume" and state.suspended is not None:
                positions = positions_to_resume(state, topic, accept_loss=True)
                lanes.resume(lake, state, positions=positions, run_id="operator")
            elif what == "rebase":
                positions = positions_to_rebase(state, topic)
                after = lanes.rebase(lake, state, topic_id=topic.topic_id, positions=positions, run_id="operator")
                self.world.remember_first(after)

    def new_run(self, slot: int) -> None:
        self.started += 1
        self.runs[slot] = None
        self.runs[slot] = run = LaneRun(self.world, f"run-{self.started}")
        assert run.topic_id == self.world.broker.topic_id(), "it begins to read a topic that is not its lane's"

    def end_as_it_may(self, slot: int | None, act: Callable[[], object]) -> None:
        """A run that fails ends, with an error of ours, and an incident suspends the lane; a killed one just ends."""
        run = None if slot is None else self.runs[slot]
        try:
            try:
                act()
            except LaneSuspended as incident:
                if run is None:
                    raise
                with self.world.catalog.undisturbed():
                    run.suspend(incident)
        except (StageFailed, StatementRefused) as refusal:
            raise AssertionError("another writer was first, and that is not how a run may be told") from refusal
        except (ArrowIngestError, Crash):
            if slot is not None:
                self.runs[slot] = None

    # The end

    def teardown(self) -> None:
        """Let everything come to rest, and compare."""
        type(self).histories += 1
        try:
            self.come_to_rest()
            self.compare()
        finally:
            self.world.catalog.close()

    def come_to_rest(self) -> None:
        while self.world.catalog.delayed:
            self.world.catalog.land_delayed()
        for attempt in range(4):
            try:
                last = LaneRun(self.world, f"last-{attempt}")
                last.read_all()
                last.seal()
                last.commit()
            except LaneSuspended:
                for what in ("resume", "rebase", "resume"):
                    self.end_as_it_may(None, lambda what=what: self.operator(what))  # type: ignore[misc]
            else:
                if not last.sealed and last.is_at_end:
                    return
        raise AssertionError("the lane does not come to the end of its log")

    def compare(self) -> None:
        world, table = self.world, self.world.config.lake
        with world.catalog.session() as lake:
            state = lanes.read_lane(lake, world.config.name, LANE)
            entries = ledger.commits_since(lake, world.config.name, 0)
            has_table = read_table_schema(lake, table) is not None
            findings = [
                *check_ledger(entries, [state] if state is not None else []),
                *check_topic([state] if state is not None else [], world.broker.topic_state()),
                *check_rows(lake, table, entries, has_table=has_table),
            ]
            names = "_kafka_generation, _kafka_partition, _kafka_offset, _kafka_row, n"
            rows = lake.execute(f"SELECT {names} FROM {in_lake(table.schema_name, table.table)}") if has_table else []
        found, expected = Counter(rows), Counter(self.rows_of(entries))
        lost, duplicated = expected - found, found - expected
        landed = {entry.commit_id for entry in entries}
        silent = [*self.unsaid(entries, state), *(at for at in world.receipts if at.commit_id not in landed)]
        self.damage.update(lost=lost.total(), duplicated=duplicated.total(), silent=len(silent))
        assert not lost, lost
        assert not duplicated, duplicated
        assert not silent, silent
        assert not [finding for finding in findings if finding.severity is Severity.ERROR], findings

    def rows_of(self, entries: tuple[ledger.LedgerEntry, ...]) -> Iterator[tuple[Any, ...]]:
        """The rows that the broker held in the ranges that the ledger says were read."""
        for entry in entries:
            if entry.kind is CommitKind.INGEST:
                for part in entry.ranges:
                    for record in self.world.broker.logs[entry.topic_id][part.partition].records[
                        part.start : part.stop
                    ]:
                        if record is not None:
                            for number, value in enumerate(record.rows or ()):
                                yield entry.generation, part.partition, record.offset, number, value

    def unsaid(self, entries: tuple[ledger.LedgerEntry, ...], state: LaneState | None) -> Iterator[str]:
        """Parts of the present generation's log that were neither read nor given up."""
        assert state is not None
        for partition, stored in state.offsets.items():
            ranges = [
                part
                for entry in entries
                for part in entry.ranges
                if (entry.generation, part.partition) == (state.generation, partition)
            ]
            # A generation that began without anybody seeing it (its answer was lost) began at its first range.
            first = min(self.world.first_offsets[state.generation, partition], *(part.start for part in ranges), stored)
            if sum(part.count for part in ranges) != stored - first:
                yield f"partition {partition}: {ranges} are not [{first}, {stored})"
            if stored != len(self.world.broker.now[partition].records):
                yield f"partition {partition} ends at {stored}"
