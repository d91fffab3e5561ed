"""The ledger kept small: full tables are put aside, and those whose commits are all old are summed up.

No lane's lock is needed: nothing is copied out of the table that commits append to (`ledger_volumes`). Commits younger
than a lane may still look up are never summed up: that takes a minute, and the least age is a day.
"""

from datetime import datetime, timedelta
from functools import partial

from arrow_ingest.lake import ledger_volumes
from arrow_ingest.lake.ledger import COMMITS
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.sql import own


def roll_up(work: Work) -> StepReport:
    """Put the present table aside when it is full, then sum up what is old.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict: what was summed up before stays so.
    """
    lake, keep = work.lake, work.settings.ledger
    [(commits,)] = lake.execute(f"SELECT count(*) FROM {COMMITS}")
    is_full = commits >= keep.volume_commits
    ages = {volume: newest_commit(work, volume) for volume in ledger_volumes.volumes(lake)}
    old = [volume for volume, at in ages.items() if is_old(at, work.now, keep.keep_days)]
    counts = {volume: lake.execute(f"SELECT count(*) FROM {own(volume)}")[0][0] for volume in old}
    numbers = {"put_aside": commits if is_full else 0, "commits_summed": sum(counts.values()), "sums": 0}
    if not is_full and not old:
        return StepReport(work.step, Outcome.NOTHING, f"{commits} commits are few", numbers)
    if work.is_dry_run:
        says = f"{numbers['put_aside']} commits would be put aside, {numbers['commits_summed']} summed up"
        return StepReport(work.step, Outcome.PLANNED, says, numbers)
    if is_full:
        work.write(partial(_put_aside, work))
    done = 0
    for volume in old:
        if not work.has_time:
            break
        numbers["sums"] += work.write(partial(_sum_up, work, volume))
        done += counts[volume]
    numbers["commits_summed"] = done
    says = f"{numbers['put_aside']} commits were put aside, {done} became {numbers['sums']} sums"
    is_complete = done == sum(counts.values())
    return StepReport(work.step, Outcome.DONE if is_complete else Outcome.POSTPONED, says, numbers)


def newest_commit(work: Work, volume: str) -> datetime | None:
    """When the newest commit of a table of the ledger was made; None: it has none."""
    [(newest,)] = work.lake.execute(f"SELECT max(committed_at) FROM {own(volume)}")
    return newest if isinstance(newest, datetime) else None


def is_old(newest: datetime | None, now: datetime, keep_days: float) -> bool:
    """Whether no commit of a table need have a row of its own any more.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 4, tzinfo=UTC)
    >>> is_old(datetime(2026, 11, 1, tzinfo=UTC), now, 2.0), is_old(now, now, 2.0), is_old(None, now, 2.0)
    (True, False, True)
    """
    return newest is None or now - newest > timedelta(days=keep_days)


def _put_aside(work: Work) -> None:
    ledger_volumes.put_aside(work.lake)
    work.sign("begin a new table of the ledger")


def _sum_up(work: Work, volume: str) -> int:
    sums = ledger_volumes.roll_up(work.lake, volume)
    work.sign(f"sum up {volume}")
    return len(sums)
