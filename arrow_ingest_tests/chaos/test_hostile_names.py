"""Names and texts that are meant for SQL, a file system or a terminal are kept as they are, or refused whole."""

from pathlib import Path

import pyarrow as pa
import pytest

from arrow_ingest.ipc.decode import decode
from arrow_ingest.values import Reason, Rejection
from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.staged_table import accepted, pipeline, tables_of

pytestmark = pytest.mark.chaos(faults=1)

KEPT = (
    *('x"; DROP TABLE lake.main.events; --', "x' OR '1'='1", '"', "'", "''", "`", "$1", "?", "%s", "{0}", "\\", "\\'"),
    *("../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "a=b", "year=2026", "C:\\x", "a%2Fb", "a.b", "*", "~"),
    *("select", "table", "rowid", "filename", "snapshot_id", "file_row_number", "year", "month", "day", "null", "true"),
    *("größe", "漢字", "😀", "é", "ﬀ", "0", "1e9", " inside ", "x" * 255),
)
"""Names that can be a column's, whatever they look like."""

REFUSED = {
    "nul": ["a\0b"],
    "only_nul": ["\0"],
    "bidi": ["\u202egnp.exe"],
    "isolate": ["a\u2066b"],
    "zero_width": ["a\u200bb"],
    "byte_order_mark": ["\ufeffa"],
    "escape": ["\x1b[31mred"],
    "line_break": ["a\nb"],
    "empty": [""],
    "case_twins": ["a", "A"],
    "folded_twins": ["straße", "STRASSE"],
    "too_long": ["x" * 5_000],
    "ours": ["_kafka_offset"],
    "ducklakes": ["_ducklake_internal_row_id"],
}

TEXTS = (
    *(
        "a\0b",
        "\0",
        "\x1b[31m",
        "\u202eevil",
        "'; DROP TABLE x; --",
        '"',
        "\\",
        "\\'",
        "$$",
        "$1 {} %s",
        "\r\n",
        "\ufeff",
    ),
    *("😀", "\U0010ffff", "", "NULL", "../..", "x" * 100_000),
)
"""Values of which the catalog keeps the smallest and largest, in SQL of its own."""


def test_names_that_would_mislead_somebody_are_refused_with_their_message(tmp_path: Path) -> None:
    limits = pipeline(tmp_path).limits
    for case, names in REFUSED.items():
        for kind in (pa.int8(), pa.struct([(name, pa.int8()) for name in names])):
            fields = [("s", kind)] if pa.types.is_struct(kind) else [(name, kind) for name in names]
            if case in ("ours", "ducklakes") and pa.types.is_struct(kind):
                continue  # they are reserved among columns only
            refused = decode(stream_of(pa.schema(fields).empty_table()), limits)
            assert isinstance(refused, Rejection), (case, refused)
            assert refused.reason is Reason.INVALID_NAME, (case, refused)
            assert refused.detail.isprintable(), case


@pytest.mark.parametrize("depth", ["columns", "fields"])
def test_names_and_texts_that_look_like_code_are_kept_as_they_are(catalog: str, tmp_path: Path, depth: str) -> None:
    with tables_of(tmp_path, catalog) as make:
        table = make()
        columns = {name: pa.array([f"{number}", None, "x"]) for number, name in enumerate(KEPT)}
        if depth == "fields":
            columns = {"s": pa.StructArray.from_arrays(list(columns.values()), list(columns))}
        columns["text"] = pa.array(TEXTS[:3])
        messages = [pa.table({**columns, "text": pa.array(TEXTS[at : at + 3])}) for at in range(0, len(TEXTS), 3)]
        for message in messages:
            table.ingest(accepted_by_decode(message))
        rows = table.rows(*columns)
        assert rows.schema.names == list(columns)
        assert rows.to_pylist() == [row for message in messages for row in message.to_pylist()]
        assert {path.name.partition("-")[0] for path in tmp_path.rglob("*.parquet")} == {"lane"}
        folders = {path.parent for path in tmp_path.rglob("*.parquet")}
        assert folders == {tmp_path / "data" / "main" / table.config.lake.table}


def accepted_by_decode(message: pa.Table) -> pa.Table:
    """The message as it comes out of the decoder."""
    decoded = accepted(decode(stream_of(message), pipeline(Path("/nowhere")).limits))
    return pa.Table.from_batches(decoded.batches)
