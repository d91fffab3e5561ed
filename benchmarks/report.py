"""Results in, the tables of README and docs/PERFORMANCE.md as Markdown out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LABELS: Mapping[str, str] = {
    "ours": "**arrow_ingest**, defaults",
    "insert": "arrow_ingest, `writer: insert`",
    "poc_loop": "one INSERT and commit a message (the proof of concept's loop)",
    "poc_loop_no_commit": "the same without its group commit",
    "json": "JSON, one event a message: orjson, pyarrow, INSERT",
    "fetch_only": "limit: fetch only",
    "parquet_only": "limit: Parquet writing only",
    "dagster_run": "arrow_ingest inside a Dagster run, publications included",
}


def markdown(results: Mapping[str, Any]) -> str:
    """All tables that the results hold."""
    parts = [_about(results)]
    if "throughput" in results:
        first = results["throughput"]
        parts += [_targets(results), *(_throughput(each) for each in (first, *first["other_brokers"]))]
    if "latency" in results:
        parts.append("### Latency\n\n" + _table_of(results["latency"]["flush_ages"]))
    if "growth" in results:
        parts += _growth({**results["growth"], **results.get("variations", {})})
    if "overheads" in results:
        parts += _overheads(results["overheads"])
    if "trades" in results:
        parts.append("### Settings that trade; defaults in bold\n\n" + _table_of(results["trades"]["settings"]))
    return "\n\n".join(parts) + "\n"


def headline(results: Mapping[str, Any]) -> str:
    """The README's table: ours, the alternatives, the limits."""
    return "\n\n".join([_throughput(results["throughput"]), _about(results)]).replace("### ", "", 1) + "\n"


def _about(results: Mapping[str, Any]) -> str:
    machine, versions = results["machine"], results["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured {results['at'][:10]} ({results['mode']}) on {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gib']:.0f} GiB, load {machine['load_before']} before; {named}."
    )


def _targets(results: Mapping[str, Any]) -> str:
    through = results["throughput"]
    rows: list[tuple[str, str, str]] = [
        ("rows/s over the proof of concept's loop", "≥ 4, aim 6", _number(through.get("ratio_vs_poc_loop"))),
        ("rows/s over JSON", "≥ 3", _number(through.get("ratio_vs_json"))),
        ("share of min(fetch only, Parquet only)", "≥ 0.70", _number(through.get("share_of_limit"))),
        (
            "share of what the cores allow: broker + fetching + Parquet, nothing else",
            "",
            _number(through.get("share_of_cores")),
        ),
        ("CPU seconds per GB", "aim 2.0", _number(through["cpu_seconds_per_gb"])),
        ("the same over fetch only + Parquet only", "≤ 1.15", _number(through.get("cpu_vs_limits"))),
        ("bytes copied per byte received", "0", _number(through["bytes_copied_per_byte"])),
        ("bytes of declared casts per byte received", "counted apart", _number(through["bytes_cast_per_byte"])),
        ("peak RSS, MiB", "≤ 512", _number(through["peak_rss_mib"])),
    ]
    if "latency" in results:
        rows.append(("p99 at a flush age of 1 s, seconds", "< 3", _number(results["latency"]["p99_s"])))
    if "growth" in results:
        ratio = results["growth"]["commit_cost_ratio"]
        rows.append(("cost per commit at 10,000 files over that at 10", "≤ 1.5", _number(ratio)))
    return f"### Targets, on {through['broker']}\n\n" + _table(("what", "target", "measured"), rows)


def _throughput(made: Mapping[str, Any]) -> str:
    columns = (
        ("rows/s", "rows_per_s", "{:,.0f}"),
        ("MB/s", "mb_per_s", "{:,.0f}"),
        ("CPU s/GB (user + system)", None, ""),
        ("broker's CPU s/GB", "broker_cpu_seconds_per_gb", "{:.2f}"),
        ("peak RSS MiB", "peak_rss_mib", "{:,.0f}"),
        ("files", "files", "{:,.0f}"),
        ("MB on disk", "bytes_on_disk", "{:,.0f}"),
    )
    rows = []
    for name, found in made["contenders"].items():
        cells = [LABELS[name]]
        for _, key, form in columns:
            if key is None:
                user, system = found["user_seconds_per_gb"], found["system_seconds_per_gb"]
                cells.append(f"{user + system:.2f} ({user:.2f} + {system:.2f})")
            else:
                value = found[key] / 1e6 if key == "bytes_on_disk" else found[key]
                cells.append(form.format(value))
        rows.append(cells)
    title = f"### Throughput on {made['broker']}: {made['rows']:,} rows, {made['payload_bytes'] / 1e6:,.0f} MB"
    return f"{title}\n\n" + _table(("", *(name for name, _, _ in columns)), rows)


def _growth(found: Mapping[str, Any]) -> Iterable[str]:
    titles = {
        "sqlite": "Cost per commit, SQLite",
        "postgres": "Cost per commit, PostgreSQL",
        "variations": "One thing changed at a time",
        "lanes": "Lanes on PostgreSQL",
        "backlogs": "Backlogs",
    }
    return [f"### {title}\n\n" + _table_of(found[key]) for key, title in titles.items() if key in found]


def _overheads(found: Mapping[str, Any]) -> Iterable[str]:
    steps = [(name, _number(value)) for name, value in found["defence_ms_per_mb"].items()]
    steps.append(("the broker's checksums (`check.crcs`)", _number(found["crc_ms_per_mb"])))
    yield "### Steps of a message's way, CPU\n\n" + _table(("step", "ms per MB"), steps)
    copied = [
        (name, ", ".join(f"{cause} {value:g}" for cause, value in causes.items()) or "nothing")
        for name, causes in found["copied_per_byte"].items()
    ]
    yield "### Bytes written anew per byte received, by cause\n\n" + _table(("messages", "bytes"), copied)
    dagster = found["dagster"]
    publications = ", ".join(f"{seconds:.2f}" for seconds in dagster["publication_seconds"])
    rows = [
        ("publications of one run, seconds", publications),
        ("a run that finds nothing, seconds", _number(dagster["idle_run_seconds"])),
        ("the same, CPU seconds", _number(dagster["idle_run_cpu_seconds"])),
    ]
    yield "### Dagster\n\n" + _table(("", ""), rows)


def _table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records as a table, a column per key in the order in which they come up."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return _table([key.replace("_", " ") for key in keys], [[_number(row.get(key)) for key in keys] for row in rows])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: object) -> str:
    """As people read it.

    >>> _number(1234567), _number(0.25), _number(None), _number(1234.5)
    ('1,234,567', '0.25', '', '1,234')
    """
    if value is None:
        return ""
    if isinstance(value, float) and value < 100:
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
