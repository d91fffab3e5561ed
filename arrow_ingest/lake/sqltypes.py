"""Arrow types to DuckDB's SQL type text and back. Pure: no engine is asked.

Only *storable* types have a text: one Arrow type per DuckLake type, in which files are staged. What a message may carry
beside them (`large_utf8`, `date64`, dictionaries, …) is mapped onto them by :func:`storable`.
"""

import re
import string
from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa

TIMESTAMPTZ = pa.timestamp("us", "UTC")
"""The one timestamp with zone that DuckDB has: microseconds, an instant."""

MAX_DECIMAL_DIGITS = 38

_NAMES: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    pa.timestamp("s"): "TIMESTAMP_S",
    pa.timestamp("ms"): "TIMESTAMP_MS",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("ns"): "TIMESTAMP_NS",
    TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
}
_TYPES = {name: kind for kind, name in _NAMES.items()}

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_TOKEN = re.compile(r'\s*("(?:[^"]|"")*"|[^\s"(),\[\]]+|[(),\[\]])')


def fold(name: str) -> str:
    """The form by which DuckDB matches names: ASCII letters lose their case, all others keep it.

    >>> fold("Team_ID"), fold("É") == fold("é")
    ('team_id', False)
    """
    return name.translate(_ASCII_LOWER)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type are strings, in any of its layouts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_any_list(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type are lists, in any of its layouts (a map is none)."""
    return isinstance(
        kind, pa.ListType | pa.LargeListType | pa.ListViewType | pa.LargeListViewType | pa.FixedSizeListType
    )


def storable(kind: pa.DataType) -> pa.DataType | None:
    """In which type a received one is staged; ``null`` when it says nothing yet, None when DuckLake has none.

    Two are coarser than what may arrive: nanoseconds of a time of day (DuckDB 1.5 cannot read its own TIME_NS back from
    an added file) and of a timestamp with zone. `conform` refuses a value that would lose digits.

    >>> storable(pa.list_(pa.large_string()))
    ListType(list<element: string>)
    >>> storable(pa.struct([("a", pa.null()), ("b", pa.date64())]))
    StructType(struct<b: date32[day]>)
    >>> storable(pa.duration("s")) is None, storable(pa.list_(pa.null()))
    (True, DataType(null))
    """
    if kind in _NAMES or pa.types.is_null(kind):
        return kind
    if isinstance(kind, pa.DictionaryType):
        return storable(kind.value_type)
    if is_any_list(kind):
        return _storable_list(storable(kind.value_type))
    if isinstance(kind, pa.StructType):
        return _storable_struct(kind)
    if isinstance(kind, pa.MapType):
        return _storable_map(storable(kind.key_type), storable(kind.item_type))
    return _storable_flat(kind)


def _storable_flat(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_decimal(kind):
        fits = kind.precision <= MAX_DECIMAL_DIGITS and 0 <= kind.scale <= kind.precision
        return pa.decimal128(kind.precision, kind.scale) if fits else None
    if is_text(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if isinstance(kind, pa.TimestampType):
        return TIMESTAMPTZ  # without zone it is in _NAMES
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_time(kind):
        return pa.time64("us")
    return pa.float32() if pa.types.is_float16(kind) else None


def _storable_list(item: pa.DataType | None) -> pa.DataType | None:
    return item if item is None or pa.types.is_null(item) else list_of(item)


def _storable_map(key: pa.DataType | None, value: pa.DataType | None) -> pa.DataType | None:
    if key is None or value is None:
        return None
    return pa.null() if pa.types.is_null(key) or pa.types.is_null(value) else pa.map_(key, value)


def _storable_struct(kind: pa.StructType) -> pa.DataType | None:
    fields = [(field.name, storable(field.type)) for field in kind]
    distinct = {fold(name) for name, _ in fields}
    if not fields or len(distinct) < len(fields) or any(field is None for _, field in fields):
        return None
    typed = [(name, field) for name, field in fields if field is not None and not pa.types.is_null(field)]
    return pa.struct(typed) if typed else pa.null()


def list_of(item: pa.DataType) -> pa.ListType:
    """A list as Parquet files name its child."""
    return pa.list_(pa.field("element", item))


HEADERS = list_of(pa.struct([("key", pa.string()), ("value", pa.binary())]))
"""A message's Kafka headers: a name may come more than once, and a value be missing."""


def sql_text(kind: pa.DataType) -> str:
    """DuckDB's text of a storable type; names inside a STRUCT are always quoted.

    >>> sql_text(pa.struct([("a b", pa.int32()), ("tags", pa.list_(pa.string()))]))
    'STRUCT("a b" INTEGER, "tags" VARCHAR[])'
    """
    if isinstance(kind, pa.StructType):
        fields = ", ".join(f"{_quoted(field.name)} {sql_text(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    if isinstance(kind, pa.MapType):
        return f"MAP({sql_text(kind.key_type)}, {sql_text(kind.item_type)})"
    if isinstance(kind, pa.ListType):
        return f"{sql_text(kind.value_type)}[]"
    if pa.types.is_decimal128(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return _NAMES[kind]


@lru_cache(maxsize=4096)
def arrow_type(sql: str) -> pa.DataType | None:
    """The storable Arrow type of DuckDB's type text; None for types that we never stage (UUID, HUGEINT, …).

    >>> arrow_type('STRUCT(Id BIGINT, "a b" DECIMAL(10,2)[])[]')
    ListType(list<element: struct<Id: int64, a b: list<element: decimal128(10, 2)>>>)
    >>> arrow_type("MAP(VARCHAR, UUID)") is None
    True
    """
    tokens = _Tokens(sql)
    kind = _parsed_type(tokens)
    return kind if tokens.upcoming == "" else None


def canonical_text(sql: str) -> str:
    """One spelling per type, so that texts can be compared; types that we never stage keep theirs.

    >>> canonical_text('STRUCT(a INTEGER)') == canonical_text('STRUCT("a" INTEGER)')
    True
    """
    kind = arrow_type(sql)
    return sql if kind is None else sql_text(kind)


class _Tokens:
    """Names, numbers, brackets and commas of a type text, with one token of look-ahead; "" ends it."""

    def __init__(self, text: str) -> None:
        self._rest: Iterator[str] = iter(_TOKEN.findall(text))
        self.upcoming = next(self._rest, "")

    def take(self) -> str:
        taken, self.upcoming = self.upcoming, next(self._rest, "")
        return taken

    def take_if(self, token: str) -> bool:
        return self.upcoming == token and bool(self.take())


def _parsed_type(tokens: _Tokens) -> pa.DataType | None:
    kind = _parsed_base(tokens)
    while kind is not None and tokens.take_if("["):
        kind = list_of(kind) if tokens.take_if("]") else None
    return kind


def _parsed_base(tokens: _Tokens) -> pa.DataType | None:
    word = tokens.take()
    if tokens.upcoming != "(":
        words = [word]
        while tokens.upcoming not in ("", ",", ")", "["):
            words.append(tokens.take())
        return _TYPES.get(" ".join(words))
    tokens.take()
    if word == "DECIMAL":
        precision, _, scale = tokens.take(), tokens.take(), tokens.take()
        return pa.decimal128(int(precision), int(scale)) if tokens.take_if(")") else None
    if word == "STRUCT":
        return _parsed_struct(tokens)
    return _parsed_map(tokens) if word == "MAP" else None


def _parsed_struct(tokens: _Tokens) -> pa.DataType | None:
    fields: list[tuple[str, pa.DataType]] = []
    while not fields or tokens.take_if(","):
        name = _unquoted(tokens.take())
        if (kind := _parsed_type(tokens)) is None:
            return None
        fields.append((name, kind))
    return pa.struct(fields) if tokens.take_if(")") else None


def _parsed_map(tokens: _Tokens) -> pa.DataType | None:
    key = _parsed_type(tokens)
    tokens.take_if(",")
    value = _parsed_type(tokens) if key is not None else None
    return pa.map_(key, value) if key is not None and value is not None and tokens.take_if(")") else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unquoted(token: str) -> str:
    return token[1:-1].replace('""', '"') if token.startswith('"') else token
