"""What an operator names in, which table partitions are rebuilt out."""

from collections.abc import Callable, Iterable, Sequence

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.time_partitions import TimeUnit, key_of_time, start_of_key

Choice = Callable[[Iterable[str]], Sequence[str]]
"""Picks table partitions by their keys."""

_EXAMPLES: dict[TimeUnit, str] = {"hour": "2026-11-04-02:00", "day": "2026-11-04", "month": "2026-11"}


def chosen(config: PipelineConfig, first: str | None, last: str | None, named: Sequence[str]) -> Choice:
    """The partitions ``named``, or those from ``first`` to ``last``, which is the first one if it is left out.

    Raises:
        ConfigError: they do not fit the table, or name none.
    """
    by = config.partition_by
    if by is None:
        if first or last or named:
            raise ConfigError(f"the table of {config.name} has no partitions: name none, it is rebuilt as a whole")
        return these(())
    if named and (first or last):
        raise ConfigError("name table partitions one by one, or a range by its first and last, not both")
    if not named and first is None:
        raise ConfigError("name table partitions: a range by its first and last, or one by one")
    if by.unit == "value":
        if first or last:
            raise ConfigError("the table is partitioned by values, which have no range: name them one by one")
        return these(named)
    if named:
        return these([_key(key, by.unit) for key in named])
    keys = [_key(key, by.unit) for key in (first, last) if key is not None]
    if keys[-1] < keys[0]:
        raise ConfigError(f"the range ends at {keys[-1]}, before it begins at {keys[0]}")
    return between(keys[0], keys[-1])


def between(first: str, last: str) -> Choice:
    """All that lie between two keys, both included, in their order.

    >>> between("2026-03-01", "2026-03-02")(["2026-03-02", "2026-02-28"])
    ['2026-03-02']
    """
    return lambda found: [key for key in sorted(found) if first <= key <= last]


def these(keys: Iterable[str]) -> Choice:
    """Those that are named.

    >>> these(["b", "c"])(["a", "b"])
    ['b']
    """
    wanted = set(keys)
    return lambda found: [key for key in sorted(found) if key in wanted]


def _key(given: str, unit: TimeUnit) -> str:
    """A key as Dagster writes it; a month may be written without its day."""
    for text in (given, f"{given}-01"):
        try:
            return key_of_time(start_of_key(text, unit), unit)
        except ValueError:
            continue
    raise ConfigError(f"{given!r} is no {unit} of the table, such as {_EXAMPLES[unit]}")
