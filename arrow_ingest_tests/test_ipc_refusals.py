"""Each line of defence refuses what it is there for, with its reason code and a detail that says what to do."""

from struct import pack

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrow_ingest.config import Limits
from arrow_ingest.ipc.decode import MAX_DETAIL_CHARACTERS, Decoded, decode
from arrow_ingest.ipc.types import refusal
from arrow_ingest.table_shape import ALL_METADATA_COLUMNS
from arrow_ingest.values import Reason, Rejection
from arrow_ingest_tests import forged_flatbuffers as forged
from arrow_ingest_tests.arrow_payloads import END_OF_STREAM, frames_of, schema_stream, stream_of
from arrow_ingest_tests.arrow_strategies import supported_types

LIMITS = Limits()
TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})


def rejected(payload: pa.Buffer | bytes | None, limits: Limits = LIMITS) -> Rejection:
    result = decode(pa.py_buffer(payload) if isinstance(payload, bytes) else payload, limits)
    assert isinstance(result, Rejection), result
    return result


def of_columns(columns: dict[str, pa.DataType]) -> pa.Buffer:
    return schema_stream(pa.schema(columns))


def test_message_without_a_value_is_refused() -> None:
    assert rejected(None).reason is Reason.NO_VALUE


def test_payload_over_the_size_limit_is_refused() -> None:
    payload = stream_of(TABLE)

    assert rejected(payload, Limits(max_message_bytes=payload.size - 1)).reason is Reason.TOO_LARGE
    assert isinstance(decode(payload, Limits(max_message_bytes=payload.size)), Decoded)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(payload: bytes) -> None:
    assert rejected(payload).reason in {Reason.FRAMING, Reason.TRUNCATED}


def test_stream_cut_between_two_batches_is_refused() -> None:
    payload = b"".join(frames_of(stream_of(TABLE)))
    assert pa.ipc.open_stream(payload).read_all().equals(TABLE)  # pyarrow alone would take it

    assert rejected(payload).reason is Reason.TRUNCATED


def test_bytes_after_the_end_of_the_stream_are_refused() -> None:
    payload = stream_of(TABLE).to_pybytes()

    assert rejected(payload + b"\0").reason is Reason.TRAILING_BYTES
    assert rejected(payload + payload).reason is Reason.TRAILING_BYTES


def test_second_schema_in_a_stream_is_refused() -> None:
    schema, batch = frames_of(stream_of(TABLE))

    assert rejected(schema + batch + schema + batch + END_OF_STREAM).reason is Reason.FRAMING
    assert rejected(batch + END_OF_STREAM).reason is Reason.FRAMING
    assert rejected(END_OF_STREAM).reason is Reason.FRAMING


def test_framing_of_before_arrow_0_15_is_refused() -> None:
    found = rejected(stream_of(TABLE, use_legacy_format=True))

    assert found.reason is Reason.FRAMING
    assert "0.15" in found.detail


def test_file_format_is_refused_by_name() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write(TABLE)

    found = rejected(sink.getvalue())
    assert found.reason is Reason.FRAMING
    assert "file format" in found.detail


def test_big_endian_schema_is_refused() -> None:
    found = rejected(forged.stream(forged.schema_frame(forged.int64_field(b"c"), endianness=1)))

    assert (found.reason, "big-endian" in found.detail) == (Reason.METADATA, True)


def test_codec_named_in_v4_metadata_is_refused() -> None:
    schema = forged.schema_frame(forged.int64_field(b"c"))
    batch = forged.Table({0: pack("<q", 0), 1: forged.Longs((0, 0), 2), 2: forged.Longs((0, 0, 0, 0), 2)})
    codec = forged.pairs((forged.Text(b"ARROW:experimental_compression"), forged.Text(b"zstd")))
    plain = forged.frame(forged.RECORD_BATCH, batch, version=forged.V4)
    compressed = forged.frame(forged.RECORD_BATCH, batch, version=forged.V4, metadata=codec)

    assert isinstance(decode(pa.py_buffer(forged.stream(schema, plain)), LIMITS), Decoded)
    assert rejected(forged.stream(schema, compressed)).reason is Reason.METADATA


def test_data_buffers_counted_for_views_that_are_none_are_refused() -> None:
    batch = {0: pack("<q", 0), 1: forged.Longs((0, 0), 2), 2: forged.Longs((0, 0, 0, 0), 2), 4: forged.Longs((0,))}
    frames = forged.schema_frame(forged.int64_field(b"c")), forged.frame(forged.RECORD_BATCH, forged.Table(batch))

    assert rejected(forged.stream(*frames)).reason is Reason.METADATA


@pytest.mark.parametrize(
    ("nodes", "buffers"),
    [
        ((2, 0), (0, 0, 0, 15)),  # two int64 in fifteen bytes
        ((2, 1), (0, 0, 0, 16)),  # a null without a validity buffer
        ((2, 3), (0, 8, 0, 16)),  # more nulls than values
        ((2, -1), (0, 8, 0, 16)),
        ((1, 0), (0, 0, 0, 16)),  # a column shorter than its batch
        ((2, 0), (0, 0, 8, 16)),  # a buffer that ends outside the body
        ((2, 0), (0, 0, -8, 16)),
        ((2, 0), (0, 0)),  # too few buffers
        ((2, 0, 2, 0), (0, 0, 0, 16)),  # too many nodes
    ],
)
def test_batch_whose_nodes_and_buffers_disagree_is_refused(nodes: tuple[int, ...], buffers: tuple[int, ...]) -> None:
    schema = forged.schema_frame(forged.int64_field(b"c"))
    honest = forged.batch_frame(2, (2, 0), (0, 0, 0, 16), bytes(16))
    lying = forged.batch_frame(2, nodes, buffers, bytes(16))

    assert isinstance(decode(pa.py_buffer(forged.stream(schema, honest)), LIMITS), Decoded)
    assert rejected(forged.stream(schema, lying)).reason is Reason.METADATA


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_rows=2), Reason.TOO_MANY_ROWS),
        (Limits(max_columns=1), Reason.TOO_MANY_COLUMNS),
        (Limits(max_fields=1), Reason.TOO_MANY_COLUMNS),
        (Limits(max_logical_bytes=24), Reason.DECLARED_SIZE),
        (Limits(max_logical_bytes=60), Reason.LOGICAL_SIZE),
        (Limits(max_schema_bytes=5), Reason.METADATA),
        (Limits(max_name_length=3), Reason.INVALID_NAME),
    ],
)
def test_every_limit_is_a_setting(limits: Limits, reason: Reason) -> None:
    assert rejected(stream_of(TABLE), limits).reason is reason


def test_limits_of_depth_batches_and_dictionaries_are_settings() -> None:
    nested = pa.table({"c": pa.array([[["a"]]])})
    encoded = pa.table({"c": pa.array(["a"]).dictionary_encode(), "d": pa.array(["b"]).dictionary_encode()})
    batches = pa.Table.from_batches(TABLE.to_batches() * 2)

    assert rejected(stream_of(nested), Limits(max_depth=2)).reason is Reason.TOO_DEEP
    assert rejected(stream_of(encoded), Limits(max_dictionaries=1)).reason is Reason.TOO_MANY_DICTIONARIES
    assert rejected(stream_of(batches), Limits(max_batches=1)).reason is Reason.TOO_MANY_BATCHES
    for table, limits in (
        (nested, Limits(max_depth=3)),
        (encoded, Limits(max_dictionaries=2)),
        (batches, Limits(max_batches=2)),
    ):
        assert isinstance(decode(stream_of(table), limits), Decoded)


REFUSED_TYPES = {
    pa.duration("us"): "int64",
    pa.month_day_nano_interval(): "struct",
    pa.run_end_encoded(pa.int32(), pa.utf8()): "plain values",
    pa.list_view(pa.int8()): "list",
    pa.large_list_view(pa.int8()): "large_list",
    pa.sparse_union([pa.field("a", pa.int8())]): "struct",
    pa.dense_union([pa.field("a", pa.int8())]): "struct",
    pa.decimal256(60, 2): "decimal128",
    pa.decimal128(5, -2): "scale",
    pa.decimal128(5, 6): "scale",
    pa.binary(0): "binary",
    pa.list_(pa.int8(), 0): "list",
    pa.struct([]): "field",
    pa.timestamp("us", "nowhere; at all"): "time zone",
    pa.dictionary(pa.int8(), pa.list_(pa.int8())): "values themselves",
    pa.dictionary(pa.int8(), pa.string_view()): "values themselves",
    pa.dictionary(pa.int8(), pa.dictionary(pa.int8(), pa.utf8())): "values themselves",
    pa.dictionary(pa.int8(), pa.null()): "values themselves",
}


@pytest.mark.parametrize(("kind", "instead"), REFUSED_TYPES.items(), ids=map(str, REFUSED_TYPES))
def test_type_that_the_lake_cannot_hold_is_refused_with_what_to_send(kind: pa.DataType, instead: str) -> None:
    nested = pa.map_(pa.utf8(), pa.struct([pa.field("x", pa.list_(kind))]))

    for column in (kind, nested):
        assert instead in (refusal(column) or "")


@pytest.mark.parametrize(
    "kind",
    [kind for kind in REFUSED_TYPES if "dictionary" not in str(kind)],
    ids=str,
)
def test_refused_type_never_reaches_the_reader(kind: pa.DataType) -> None:
    assert rejected(of_columns({"c": kind})).reason is Reason.TYPE_NOT_ALLOWED


@settings(deadline=None)
@given(supported_types())
def test_supported_type_is_not_refused(kind: pa.DataType) -> None:
    assert refusal(kind) is None


def test_extension_type_is_refused_before_its_code_runs() -> None:
    found = rejected(of_columns({"ok": pa.int8(), "nested": pa.list_(pa.uuid())}))

    assert found.reason is Reason.TYPE_NOT_ALLOWED
    assert "storage type" in found.detail


@pytest.mark.parametrize(
    "name", ["", "a\0b", "a\nb", "\u202egnp", "x" * 256, "\u200b", *ALL_METADATA_COLUMNS, "ROW_ID"]
)
def test_column_name_that_duckdb_would_change_or_refuse_is_refused(name: str) -> None:
    assert rejected(of_columns({name: pa.int8()})).reason is Reason.INVALID_NAME


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a"), ("straße", "STRASSE")])
def test_names_that_differ_by_case_alone_are_refused(names: tuple[str, str]) -> None:
    columns = pa.schema([pa.field(name, pa.int8()) for name in names])
    nested = pa.schema([("s", pa.list_(pa.struct(list(columns))))])

    assert rejected(schema_stream(columns)).reason is Reason.INVALID_NAME
    assert rejected(schema_stream(nested)).reason is Reason.INVALID_NAME


@pytest.mark.parametrize("field", ["", "a\0b"])
def test_field_names_at_any_depth_are_checked(field: str) -> None:
    struct = pa.struct([(field, pa.int8())])

    for kind in (struct, pa.list_(struct), pa.list_(struct, 1), pa.map_(pa.utf8(), struct), pa.struct([("s", struct)])):
        assert rejected(of_columns({"c": kind})).reason is Reason.INVALID_NAME


def test_reserved_names_are_free_inside_a_struct_and_list_items_need_no_name() -> None:
    kind = pa.struct([("_kafka_offset", pa.list_(pa.field("", pa.int8())))])

    assert isinstance(decode(of_columns({"größe {m²}": kind}), LIMITS), Decoded)


def test_name_that_is_not_utf8_is_refused() -> None:
    assert rejected(forged.stream(forged.schema_frame(forged.int64_field(b"\xff")))).reason is Reason.INVALID_NAME


def test_schema_without_columns_is_refused() -> None:
    assert rejected(of_columns({})).reason is Reason.METADATA


def test_delta_dictionary_is_refused() -> None:
    kind = pa.dictionary(pa.int8(), pa.utf8())
    grown = [
        pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(entries)) for entries in (["a"], ["a", "b"])
    ]
    table = pa.Table.from_batches([pa.record_batch([array], schema=pa.schema([("c", kind)])) for array in grown])

    found = rejected(stream_of(table, emit_dictionary_deltas=True))
    assert (found.reason, "delta" in found.detail) == (Reason.METADATA, True)


def test_batch_before_its_dictionary_is_refused() -> None:
    schema, _, batch = frames_of(stream_of(pa.table({"c": pa.array(["a"]).dictionary_encode()})))

    assert rejected(schema + batch + END_OF_STREAM).reason is Reason.METADATA


def test_text_that_is_not_utf8_is_refused_in_columns_and_dictionaries() -> None:
    texts = pa.StringArray.from_buffers(1, pa.py_buffer(pack("<2i", 0, 2)), pa.py_buffer(b"\xff\xfe"))
    encoded = pa.DictionaryArray.from_arrays(pa.array([0]), texts)

    for array in (texts, encoded):
        assert rejected(stream_of(pa.table({"c": array}))).reason is Reason.INVALID_DATA


def test_index_outside_its_dictionary_is_refused() -> None:
    for entries in (pa.array(["a"]), pa.array([1])):
        array = pa.DictionaryArray.from_arrays(pa.array([5]), entries, safe=False)
        assert rejected(stream_of(pa.table({"c": array}))).reason is Reason.INVALID_DATA


def test_view_of_negative_length_is_refused() -> None:
    views = pa.py_buffer(pack("<4i", -5, 0, 0, 0))
    array = pa.Array.from_buffers(pa.string_view(), 1, [None, views])

    found = rejected(stream_of(pa.table({"c": array})))
    assert (found.reason, found.detail) == (Reason.INVALID_DATA, "a value of -5 bytes")


def test_schema_policy_is_asked_before_anything_is_read() -> None:
    offered: list[pa.Schema] = []
    verdict = Rejection(Reason.SCHEMA_CONFLICT, "no")

    def refuse(schema: pa.Schema) -> Rejection:
        offered.append(schema)
        return verdict

    texts = pa.StringArray.from_buffers(1, pa.py_buffer(pack("<2i", 0, 2)), pa.py_buffer(b"\xff\xfe"))
    assert decode(stream_of(pa.table({"c": texts})), LIMITS, refuse) is verdict
    assert offered == [pa.schema([("c", pa.utf8())])]

    decode(of_columns({"c": pa.duration("s")}), LIMITS, refuse)
    assert len(offered) == 1  # never asked about what cannot come in


def test_fault_of_the_schema_policy_is_not_the_payloads_fault() -> None:
    def broken(_: pa.Schema) -> None:
        raise ValueError("a bug of ours")

    with pytest.raises(ValueError, match="a bug of ours"):
        decode(stream_of(TABLE), LIMITS, broken)


def test_detail_is_short_enough_to_store() -> None:
    union = pa.sparse_union([pa.field(f"member_{i}", pa.int8()) for i in range(100)])

    assert len(rejected(of_columns({"c": union})).detail) <= MAX_DETAIL_CHARACTERS
