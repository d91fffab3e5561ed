"""Dead letters that nobody waits for in, written down as expired; files that hold no other letters leave the table.

The files themselves go when snapshots expire and maintenance cleans up. A file is dropped whole or not at all: no
delete file arises that a rollback after a lost COMMIT answer could take away (FACTS). That answer needs no look-up
here: what has expired does not expire again.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import letter_events
from arrow_ingest.lake.dead_letter_query import StoredLetter, Wanted, has_letters, stored_letters
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.letter_events import LetterEvent, spans_text
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.lake.tables import claim

_DONE_FILES = """
WITH given_up AS (SELECT unnest($generations) AS generation, unnest($partitions) AS part, unnest($offsets) AS place)
SELECT filename, count(*) FROM {table} l LEFT JOIN ({spans}) became
  ON became.generation = l.generation AND became.part = l."partition"
  AND became.start <= "offset" AND became.stop > "offset"
GROUP BY filename HAVING max(dead_at) < $before AND bool_and(
  became.event IS NOT NULL OR (l.generation, l."partition", l."offset") IN (FROM given_up))
"""


@dataclass(frozen=True, slots=True)
class Expired:
    """What an expiry did, or would do: letters given up, files that left the table, and the letters in them."""

    letters: int = 0
    files: int = 0
    letters_in_files: int = 0

    def __str__(self) -> str:
        return f"{self.letters} dead letters given up, {self.files} files dropped"


def expire_letters(lake: Lake, config: PipelineConfig, wanted: Wanted, *, before: datetime, run_id: str) -> Expired:
    """`expire_now` in a transaction of its own.

    Raises:
        CommitConflict, CatalogUnavailable: try again; nothing expires twice.
    """

    def expire() -> Expired:
        done = expire_now(lake, config, wanted, before=before, run_id=run_id)
        lake.execute(f"CALL {LAKE}.set_commit_message(?, ?)", ["arrow_ingest", f"expire: {config.name}: {done}"])
        return done

    return lake.write(expire)


def expire_now(lake: Lake, config: PipelineConfig, wanted: Wanted, *, before: datetime, run_id: str) -> Expired:
    """Give up what is unresolved and was found before a time, then drop the files of that time that are all resolved.

    The caller's transaction is open.

    Args:
        wanted: narrows which letters are given up.
    """
    claim(lake, config.name)
    letters = _due(lake, config, wanted, before)
    letter_events.append(
        lake,
        config.name,
        LetterEvent.EXPIRED,
        [letter.place for letter in letters],
        commit_id=str(uuid.uuid4()),
        run_id=run_id,
        happened_at=datetime.now(UTC),
    )
    files = _done_files(lake, config, letters, before)
    for file in files:
        lake.execute(f"DELETE FROM {_table(config)} WHERE filename = ?", [file])
    return Expired(len(letters), len(files), sum(files.values()))


def what_expires(lake: Lake, config: PipelineConfig, wanted: Wanted, *, before: datetime) -> Expired:
    """What `expire_now` would do; nothing is written."""
    letters = _due(lake, config, wanted, before)
    files = _done_files(lake, config, letters, before)
    return Expired(len(letters), len(files), sum(files.values()))


def _due(lake: Lake, config: PipelineConfig, wanted: Wanted, before: datetime) -> tuple[StoredLetter, ...]:
    return stored_letters(lake, config.name, config.lake, replace(wanted, until=before, is_unresolved=True))


def _done_files(
    lake: Lake, config: PipelineConfig, given_up: Sequence[StoredLetter], before: datetime
) -> dict[str, int]:
    """Files in which every letter is resolved, or given up now, and from before a time; how many letters each has."""
    if not has_letters(lake, config.lake):
        return {}
    text = _DONE_FILES.format(table=_table(config), spans=spans_text(lake))
    named = {
        "pipeline": config.name,
        "before": before,
        "generations": [letter.generation for letter in given_up],
        "partitions": [letter.partition for letter in given_up],
        "offsets": [letter.offset for letter in given_up],
    }
    return dict(lake.execute(text, named))


def _table(config: PipelineConfig) -> str:
    return in_lake(config.lake.schema_name, dead_letter_table(config.lake.table))
