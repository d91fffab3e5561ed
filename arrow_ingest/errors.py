"""The error tree: what went wrong, split by what the caller should do next.

::

    ArrowIngestError
    ├── TransientError                 try again later; nothing was lost, nothing needs a person
    │   ├── BrokerUnavailable          no answer from Kafka within the deadline
    │   ├── TopicMissing               the broker answers, but has no such topic (yet)
    │   ├── ConsumerStalled            the broker answers, but a partition makes no progress
    │   ├── DeliveryFailed             a produced message was not acknowledged
    │   ├── CatalogUnavailable         the catalog or the data path cannot be reached
    │   │   └── LakeNotMade            there is nothing to read yet: the first run makes it
    │   ├── LaneBusy                   another run holds the lane's lock
    │   ├── MaintenanceBusy            another maintenance of the lake is under way
    │   ├── LaneLockLost               the lane's lock was released under this run: another run may hold it
    │   ├── Stopped                    asked to end before it was done; nothing was changed
    │   ├── CommitConflict             other transactions won every retry
    │   └── Replan                     the table changed under the micro-batch: stage it again from the log
    │       └── StagedTooLongAgo       the orphan guard could remove the staged files before the commit
    ├── TerminalError                  stop and tell a person
    │   ├── ConfigError                the pipeline's YAML, or a command's arguments
    │   │   ├── NothingToRebase        the lane reads the topic as it is
    │   │   └── NothingToMaintain      the pipeline has committed nothing yet
    │   ├── MissingPart                an optional package, a DuckDB extension, a program or a librdkafka symbol
    │   ├── StackFailed                a server or a tool of the stack that we run ourselves failed
    │   ├── RowTooLarge                one row does not fit into a message
    │   ├── LaneFenced                 the lane's row is not what this run started from: another run owns it
    │   ├── LayoutMismatch             lanes in the lake differ from lanes in the YAML
    │   ├── LakeMismatch               the lake holds another pipeline's table, topic or partitioning
    │   ├── StageFailed                a staged file could not be written
    │   ├── RebuildRefused             the log no longer gives what a table partition holds; nothing was changed
    │   ├── ModelRefused               a SQL model's query or rows are not what its table takes; nothing was changed
    │   ├── StatementRefused           DuckDB refused a statement: its text or its data are wrong
    │   └── LaneSuspended              the lane stops until an operator decides
    └── OutcomeUnknown                 the answer to COMMIT was lost: look the commit up, then decide

A foreign error (librdkafka, DuckDB, Arrow, OSError) is wrapped once, at the door of the room that met it, and chained.
"""

from collections.abc import Iterable
from enum import StrEnum


class ArrowIngestError(Exception):
    """Anything that arrow_ingest raises on purpose."""


class TransientError(ArrowIngestError):
    """The same call may succeed later; nothing was lost."""


class TerminalError(ArrowIngestError):
    """Calling again changes nothing; a person has to look."""


class BrokerUnavailable(TransientError):
    """No broker answered within the deadline."""

    def __init__(self, bootstrap_servers: str, doing: str, detail: str) -> None:
        super().__init__(
            f"no answer from Kafka at {bootstrap_servers} while {doing}: {detail} "
            "(check that the broker runs, that kafka.bootstrap_servers is right, and that security.protocol in "
            "kafka.properties is what it speaks there)"
        )
        self.bootstrap_servers = bootstrap_servers
        self.doing = doing


class TopicMissing(TransientError):
    """The broker has no topic of this name."""

    def __init__(self, topic: str, bootstrap_servers: str) -> None:
        super().__init__(f"there is no topic {topic!r} at {bootstrap_servers}: create it, or correct kafka.topic")
        self.topic = topic


class ConsumerStalled(TransientError):
    """A partition has records to read, but none arrived for too long."""

    def __init__(self, partition: int, offset: int, seconds: float) -> None:
        super().__init__(
            f"partition {partition} made no progress at offset {offset} for {seconds:.0f} s although the log goes on: "
            "is a message larger than kafka.properties['receive.message.max.bytes']?"
        )
        self.partition = partition
        self.offset = offset


class DeliveryFailed(TransientError):
    """A message that was handed to the producer has not been acknowledged, and will not be.

    Args:
        topic: where it should have gone.
        code: librdkafka's name of the error, such as ``MSG_SIZE_TOO_LARGE``.
        detail: librdkafka's words for it.
    """

    def __init__(self, topic: str, code: str, detail: str) -> None:
        hint = {
            "MSG_SIZE_TOO_LARGE": "; is the topic's max.message.bytes large enough?",
            "_MSG_TIMED_OUT": "; does the broker run, and is bootstrap.servers right?",
            # A fatal error emptied the queue, and confluent-kafka may lose the error itself on the way.
            "_PURGE_QUEUE": "; the brokers refused the producer as a whole: has its user the authorization to Write?",
            "_UNKNOWN_TOPIC": "; create the topic first",
            "UNKNOWN_TOPIC_OR_PART": "; create the topic first",
        }.get(code, "")
        super().__init__(f"a message for topic {topic!r} was not delivered ({code}): {detail}{hint}")
        self.topic = topic
        self.code = code


class CatalogUnavailable(TransientError):
    """The catalog database or the data path cannot be reached or written."""


class LakeNotMade(CatalogUnavailable):
    """A reader came before the first run, which makes the lake."""

    def __init__(self, catalog: str) -> None:
        super().__init__(f"there is no lake at {catalog} yet: the first run makes it")


class LaneBusy(TransientError):
    """Another run holds this lane's lock."""

    def __init__(self, pipeline: str, lane: int, holder: str = "") -> None:
        super().__init__(f"lane {lane} of {pipeline} is being drained by another run{f' ({holder})' if holder else ''}")
        self.pipeline = pipeline
        self.lane = lane


class MaintenanceBusy(TransientError):
    """Another process tidies the lake, or rebuilds a part of it."""

    def __init__(self, holder: str = "") -> None:
        super().__init__(
            f"another maintenance of the lake is under way{f' ({holder})' if holder else ''}: wait for its end"
        )


class LaneLockLost(TransientError):
    """The session that held this run's lane or maintenance lock ended; the run ends too, and the next one takes it."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"a lock was lost, so nothing more is committed by this run: {detail}")


class Stopped(TransientError):
    """Asked to end before it was done: nothing was changed."""


class CommitConflict(TransientError):
    """Other transactions changed the catalog first, in every attempt."""


class Replan(TransientError):
    """The table is no longer what the micro-batch was staged for: nothing was committed, stage it again."""


class StagedTooLongAgo(Replan):
    """Staged files have grown so old that orphan removal could take them before the commit."""


class ConfigError(TerminalError):
    """Settings that cannot be used.

    Args:
        message: what is wrong and what to write instead.
        file: the YAML file, when there is one.
        line: 1-based line of the offending key.
        key: dotted path of the setting, such as ``flush.max_bytes``.
    """

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, key: str | None = None
    ) -> None:
        where = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(": ".join(part for part in (where, key, message) if part))
        self.message = message
        self.file = file
        self.line = line
        self.key = key


class NothingToRebase(ConfigError):
    """A new generation was asked for, and the lane reads this very topic, whose end it has not lost."""


class NothingToMaintain(ConfigError):
    """Maintenance was asked for, and the pipeline never ran into the lake."""


class MissingPart(TerminalError):
    """A package, extension, program or symbol that this feature needs is not there."""


class StackFailed(TerminalError):
    """A server that we run ourselves ended or was not ready in time, or one of its tools refused.

    Args:
        what: the server or the tool.
        detail: what it said.
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(f"{what} failed: {detail}")
        self.what = what


class RowTooLarge(TerminalError):
    """One row alone is larger than a message may be.

    Args:
        row: its number in what was to be sent, from 0.
        size_bytes: its size as a message.
        max_bytes: the largest message allowed.
    """

    def __init__(self, row: int, size_bytes: int, max_bytes: int) -> None:
        super().__init__(f"row {row} alone takes {size_bytes} bytes, and a message holds at most {max_bytes}")
        self.row = row
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class LaneFenced(TerminalError):
    """The lane's row is not what this run started from; nothing of the micro-batch was committed."""

    def __init__(self, pipeline: str, lane: int) -> None:
        super().__init__(
            f"lane {lane} of {pipeline} moved on under this run: another run, a resume, a rebase or a new layout "
            "owns it now. Nothing was lost or repeated; this run ends."
        )
        self.pipeline = pipeline
        self.lane = lane


class LayoutMismatch(TerminalError):
    """The number of lanes in the lake is not the number in the YAML."""

    def __init__(self, pipeline: str, in_lake: int, in_yaml: int) -> None:
        super().__init__(
            f"layout {in_lake} in the lake, {in_yaml} in the YAML: run `arrow-ingest lanes apply {pipeline}`"
        )
        self.in_lake = in_lake
        self.in_yaml = in_yaml


class LakeMismatch(TerminalError):
    """What the lake holds under this name was made by other settings (topic, table, partition_by)."""


class StageFailed(TerminalError):
    """A staged file could not be written.

    Args:
        detail: what the writer said.
        culprits: the ``(partition, offset)`` pairs whose rows were in the row group that failed.
    """

    def __init__(self, detail: str, culprits: Iterable[tuple[int, int]] = ()) -> None:
        super().__init__(f"staging failed: {detail}")
        self.culprits = tuple(culprits)


class RebuildRefused(TerminalError):
    """A table partition cannot be made anew from the log; it stays as it is.

    Args:
        key: of the table partition; None: a table without partitions.
    """

    def __init__(self, key: str | None, why: str) -> None:
        super().__init__(f"{'the table' if key is None else f'table partition {key}'} was not rebuilt: {why}")
        self.key = key
        self.why = why


class ModelRefused(TerminalError):
    """What a SQL model's query gives cannot stand in its table, which stays as it is.

    Args:
        model: its name.
        key: of the table partition; None: all of them are refused.
    """

    def __init__(self, model: str, key: str | None, why: str) -> None:
        super().__init__(f"model {model}{f', table partition {key}' if key else ''}: {why}")
        self.model = model
        self.key = key
        self.why = why


class StatementRefused(TerminalError):
    """DuckDB refused a statement for its text or its data; the same one is refused again."""


class SuspendReason(StrEnum):
    """Why a lane stopped until an operator decides. The values are stored in the lake and in Dagster's run tags."""

    TOPIC_RECREATED = "topic_recreated"
    LOG_TRUNCATED = "log_truncated"
    OFFSET_OUT_OF_RANGE = "offset_out_of_range"
    PARTITION_REMOVED = "partition_removed"
    CORRUPT_RECORD = "corrupt_record"
    DEAD_LETTER_BUDGET = "dead_letter_budget"

    @property
    def remedy(self) -> str:
        """What an operator can do about it, in a sentence without its full stop."""
        return _REMEDIES[self]


_REMEDIES = {
    SuspendReason.TOPIC_RECREATED: "`arrow-ingest rebase` begins a new generation",
    SuspendReason.LOG_TRUNCATED: "`arrow-ingest rebase` begins a new generation",
    SuspendReason.OFFSET_OUT_OF_RANGE: "`arrow-ingest resume --accept-loss` goes on behind the gap",
    SuspendReason.PARTITION_REMOVED: "`arrow-ingest resume --accept-loss` goes on without the partition",
    SuspendReason.CORRUPT_RECORD: "`arrow-ingest resume` tries again, with `--accept-loss --skip-to` behind the record",
    SuspendReason.DEAD_LETTER_BUDGET: "`arrow-ingest dead-letters list` says why the messages were refused; "
    "once the cause is found, `arrow-ingest resume` goes on",
}


class LaneSuspended(TerminalError):
    """The lane must not go on by itself.

    Args:
        reason: the class of the incident.
        detail: the range or identity that was met, in words.
        partition: the Kafka partition, when one is to blame.
        expected: the offset that the lake wants next.
        available: the half-open range ``[low, high)`` that the broker still holds.
    """

    def __init__(
        self,
        reason: SuspendReason,
        detail: str,
        *,
        partition: int | None = None,
        expected: int | None = None,
        available: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(f"lane suspended ({reason.value}): {detail}")
        self.reason = reason
        self.detail = detail
        self.partition = partition
        self.expected = expected
        self.available = available


class OutcomeUnknown(ArrowIngestError):
    """COMMIT was sent and its answer never came: whether ``commit_id`` landed has to be looked up."""

    def __init__(self, commit_id: str, detail: str) -> None:
        super().__init__(f"the outcome of commit {commit_id} is unknown: {detail}")
        self.commit_id = commit_id
