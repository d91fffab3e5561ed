"""What maintenance says: per step what was done or would be, and what the lake holds before and after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from arrow_ingest.maintenance_settings import Step


class Outcome(StrEnum):
    """How a step ended; scripts read these, so they are never renamed.

    ``postponed``: something was left for the next run, because of the time, or of somebody who holds a lock.
    """

    DONE = "done"
    NOTHING = "nothing"
    PLANNED = "planned"
    POSTPONED = "postponed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Census:
    """What the lake holds of a pipeline: its table and dead letters; snapshots and old files are the whole lake's.

    Args:
        small_files: those that merging takes.
        files_with_deletes: those of whose rows some are deleted.
        old_files: those that no snapshot needs any more, and that are still there.
        ledger_rows: of all pipelines.
        dead_versions: of the rows in the lanes' tables.
    """

    files: int = 0
    size_bytes: int = 0
    small_files: int = 0
    files_with_deletes: int = 0
    snapshots: int = 0
    old_files: int = 0
    ledger_rows: int = 0
    dead_versions: int = 0


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step.

    Args:
        says: a sentence for people.
        numbers: counts and bytes by name; on a dry run, what they would be.
        before: what the lake held before it, and ``after``; lanes that commit meanwhile count too.
    """

    step: Step
    outcome: Outcome
    says: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    before: Census = Census()
    after: Census = Census()

    @property
    def milliseconds(self) -> int:
        """How long it took."""
        return round(1000 * self.seconds)

    @property
    def changes(self) -> dict[str, str]:
        """Files, bytes and snapshots, before and after, as people read them.

        >>> StepReport(Step.MERGE, Outcome.DONE, "", before=Census(files=1200), after=Census(files=3)).changes
        {'files': '1,200 → 3', 'bytes': '0', 'snapshots': '0'}
        """
        old, new = self.before, self.after
        pairs = {
            "files": (old.files, new.files),
            "bytes": (old.size_bytes, new.size_bytes),
            "snapshots": (old.snapshots, new.snapshots),
        }
        return {name: f"{was:,} → {now:,}" if was != now else f"{now:,}" for name, (was, now) in pairs.items()}


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """One run over one pipeline."""

    pipeline: str
    is_dry_run: bool
    before: Census
    after: Census
    steps: tuple[StepReport, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(step.outcome is not Outcome.FAILED for step in self.steps)
