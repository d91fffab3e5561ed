"""Dead letters that nobody waits for in, written down as expired; files that hold no other letters leave the table.

The files themselves go when snapshots expire and maintenance cleans up. A file is dropped whole or not at all: no
delete file arises that a rollback after a lost COMMIT answer could take away (FACTS). That answer needs no look-up
here: what has expired does not expire again.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import letter_events
from arrow_ingest.lake.dead_letter_query import Wanted, stored_letters
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.letter_events import LetterEvent, spans_text
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.lake.tables import claim

_DONE_FILES = """
SELECT filename, count(*) FROM {table} l LEFT JOIN ({spans}) became
  ON became.generation = l.generation AND became.part = l."partition"
  AND became.start <= "offset" AND became.stop > "offset"
GROUP BY filename HAVING max(dead_at) < $before AND bool_and(became.event IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Expired:
    """What an expiry did, or would do: letters given up, files that left the table, and the letters in them."""

    letters: int = 0
    files: int = 0
    letters_in_files: int = 0


def expire_letters(
    lake: Lake, config: PipelineConfig, wanted: Wanted, *, before: datetime, run_id: str, is_dry_run: bool = False
) -> Expired:
    """Give up what is unresolved and was found before a time, then drop the files of that time that are all resolved.

    Args:
        wanted: narrows which letters are given up.

    Raises:
        CommitConflict, CatalogUnavailable: try again; nothing expires twice.
    """
    wanted = replace(wanted, until=before, is_unresolved=True)

    def expire() -> Expired:
        if not is_dry_run:
            claim(lake, config.name)
        letters = stored_letters(lake, config.name, config.lake, wanted)
        if is_dry_run:
            return Expired(len(letters))
        letter_events.append(
            lake,
            config.name,
            LetterEvent.EXPIRED,
            [letter.place for letter in letters],
            commit_id=str(uuid.uuid4()),
            run_id=run_id,
            happened_at=datetime.now(UTC),
        )
        files = _drop_done_files(lake, config, before)
        lake.execute(
            f"CALL {LAKE}.set_commit_message(?, ?)",
            [
                "arrow_ingest",
                f"expire: {config.name}: {len(letters)} dead letters given up, {len(files)} files dropped",
            ],
        )
        return Expired(len(letters), len(files), sum(files.values()))

    return expire() if is_dry_run else lake.write(expire)


def _drop_done_files(lake: Lake, config: PipelineConfig, before: datetime) -> dict[str, int]:
    table = in_lake(config.lake.schema_name, dead_letter_table(config.lake.table))
    text = _DONE_FILES.format(table=table, spans=spans_text(lake))
    files = dict(lake.execute(text, {"pipeline": config.name, "before": before}))
    for file in files:
        lake.execute(f"DELETE FROM {table} WHERE filename = ?", [file])
    return files
