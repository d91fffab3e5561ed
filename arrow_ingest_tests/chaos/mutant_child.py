"""A process of its own that takes mutants all the way into a lake, and may die of one.

Usage: ``python -m arrow_ingest_tests.chaos.mutant_child SEED FIRST STOP FOLDER``

Each mutant is decoded, conformed and staged by the pipeline's own parts, added to a DuckLake, and read back by DuckDB
from there. ``FOLDER/at`` holds the number of the mutant that it is at, so that a death has a culprit. At the end, one
JSON object on stdout: how often each outcome came, and what was wrong.
"""

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from arrow_ingest.lake.schema import plan_for
from arrow_ingest.lake.sql import quoted
from arrow_ingest.lake.staging import Stager
from arrow_ingest.pipeline.rows import MessageRows, rows_of
from arrow_ingest.values import Rejection, StagedFile
from arrow_ingest_tests.chaos.mutations import mutant
from arrow_ingest_tests.plain_values import plain_values
from arrow_ingest_tests.staged_table import StagedTable, stamp, tables_of


def stage(table: StagedTable, made: MessageRows, number: int, pool: ThreadPoolExecutor) -> tuple[StagedFile, ...]:
    """The message's rows as files."""
    stager = Stager(table.config.lake, table.config.parquet, pool=pool, commit_id=f"m{number}", lane=0)
    for piece in made.slices:
        stager.append(piece, (0, number))
    return stager.close()


def read_back(table: StagedTable, made: MessageRows, files: tuple[StagedFile, ...]) -> pa.Table:
    """The rows as DuckDB reads them out of a table that is made for them, in a transaction that is rolled back."""
    names = ", ".join(map(quoted, made.plan.target.names))
    table.lake.execute("BEGIN")
    try:
        table.change(made.plan)
        table.add(files)
        return table.lake.arrow(f"SELECT {names} FROM {table.name} ORDER BY _kafka_row")
    finally:
        table.lake.execute("ROLLBACK")


def difference(expected: pa.Table, found: pa.Table) -> str | None:
    """The first column whose values are not the same; not-a-numbers are."""
    for name, left, right in zip(expected.schema.names, expected.columns, found.columns, strict=True):
        if repr(plain_values(left)) != repr(plain_values(right)):
            return f"column {name!r}: {plain_values(left)!r} became {plain_values(right)!r}"
    return None


def outcome(table: StagedTable, payload: bytes, number: int, pool: ThreadPoolExecutor) -> tuple[str, str | None]:
    """What came of a mutant, and what was wrong with that."""
    made = rows_of(pa.py_buffer(payload), table.config, plan_for(table.config, None), stamp(number))
    if isinstance(made, Rejection):
        return made.reason.value, None
    if not made.slices:
        return "empty", None
    expected = pa.Table.from_batches([piece.rows for piece in made.slices])
    expected.validate(full=True)
    files = stage(table, made, number, pool)
    found = read_back(table, made, files)
    for file in files:
        Path(file.path).unlink()
    return "accepted", difference(expected, found)


def main(seed: int, first: int, stop: int, folder: Path) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with ExitStack() as resources:
        at = resources.enter_context((folder / "at").open("wb", buffering=0))
        pool = resources.enter_context(ThreadPoolExecutor(1))
        table = resources.enter_context(tables_of(folder / "lake"))()
        for number in range(first, stop):
            at.seek(0)
            at.write(b"%12d" % number)
            try:
                came, fault = outcome(table, mutant(seed, number), number, pool)
            except Exception as error:  # noqa: BLE001 - whatever it is, no bytes may cause it
                came, fault = "raised", f"{type(error).__name__}: {error}"
            counts[came] += 1
            if fault is not None:
                wrong.append(f"seed {seed}, mutant {number}: {fault[:500]}")
    print(json.dumps({"outcomes": counts, "wrong": wrong}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
