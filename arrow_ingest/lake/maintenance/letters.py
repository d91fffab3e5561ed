"""Dead letters older than `dead_letters.keep_days` given up, and the files that hold no others out of their table."""

from datetime import timedelta

from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.letter_expiry import Expired, expire_now, what_expires
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.tables import ensure


def expire_dead_letters(work: Work) -> StepReport:
    """One transaction, under no lane's lock: it conflicts with a replay at most, and then one of them looks again.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict: nothing was given up; nothing expires twice.
    """
    days = work.config.dead_letters.keep_days
    if days is None:
        return StepReport(work.step, Outcome.NOTHING, "they are kept for ever: dead_letters.keep_days is not set")
    before = work.now - timedelta(days=days)
    due = what_expires(work.lake, work.config, Wanted(), before=before)
    if not (due.letters or due.files):
        return StepReport(work.step, Outcome.NOTHING, f"no dead letter is older than {days:g} days", _numbers(due))
    if work.is_dry_run:
        return StepReport(work.step, Outcome.PLANNED, f"{due.letters} dead letters would be given up", _numbers(due))
    ensure(work.lake, work.config)

    def expire() -> Expired:
        done = expire_now(work.lake, work.config, Wanted(), before=before, run_id=work.run_id)
        work.sign(str(done))
        return done

    done = work.write(expire)
    return StepReport(work.step, Outcome.DONE, str(done), _numbers(done))


def _numbers(expired: Expired) -> dict[str, int]:
    return {"letters": expired.letters, "files": expired.files}
