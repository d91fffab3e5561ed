"""`arrow-ingest dead-letters`: what could not become rows, why, the payloads, and a second chance for them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from rich.console import RenderableType

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.inspection import Outcome, current_plan, outcomes_of, sentences
from arrow_ingest.cli.interventions import offsets_by_partition
from arrow_ingest.cli.letter_files import write_letters
from arrow_ingest.cli.options import Common, common, waits
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.dead_letter_query import Body, StoredLetter, Wanted, bodies, stored_letters
from arrow_ingest.lake.letter_expiry import Expired, expire_letters, what_expires
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import ensure
from arrow_ingest.pipeline.lane_locks import longest_run_seconds
from arrow_ingest.pipeline.replay import Replayed
from arrow_ingest.pipeline.replay import replay as replay_letters
from arrow_ingest.values import Reason


def _zoned(_ctx: click.Context, _param: click.Parameter, given: datetime | None) -> datetime | None:
    """A time of the command line; what has no zone is UTC."""
    if given is None:
        return None
    return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that dead letters are chosen by."""
    for option in (
        click.option("--pipeline", help="Whose. Default: the project's only pipeline."),
        click.option(
            "--reason",
            "reasons",
            multiple=True,
            type=click.Choice([reason.value for reason in Reason]),
            metavar="REASON",
            help="Of this reason only, such as truncated. Can be repeated.",
        ),
        click.option(
            "--since",
            type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]),
            callback=_zoned,
            help="Found at this time or later; UTC if it names no zone.",
        ),
        click.option("--generation", type=click.IntRange(min=0), help="Of this generation of the topic only."),
    ):
        command = option(command)
    return command


@click.group()
def dead_letters() -> None:
    """Messages that could not become rows: kept whole in <table>__dead_letters, with the reason."""


@dead_letters.command("list")
@filters
@click.option("--all", "is_all", is_flag=True, help="Also those that were replayed or have expired.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest so many.")
@common
def list_letters(options: Common, pipeline: str | None, limit: int, *, is_all: bool, **chosen: Any) -> None:
    """List dead letters, the newest first: those that wait for a replay, or for somebody who gives them up."""
    config = options.pipeline(pipeline)
    letters = _stored(config, _wanted(limit=limit, is_unresolved=not is_all, **chosen))
    if options.as_json:
        print_json(letters)
    elif letters:
        hidden = {"commit_id"} if is_all else {"commit_id", "became"}
        names = [field.name for field in dataclasses.fields(StoredLetter) if field.name not in hidden]
        columns = [name.replace("_", " ") for name in names]
        print_people(table(columns, [[getattr(letter, name) for name in names] for letter in letters]))
    else:
        print_people("There are no dead letters.")


@dead_letters.command()
@click.argument("place", metavar="PARTITION:OFFSET")
@click.option("--pipeline", help="Whose. Default: the project's only pipeline.")
@click.option("--generation", type=click.IntRange(min=0), help="Default: the newest that has one there.")
@common
def show(options: Common, place: str, pipeline: str | None, generation: int | None) -> None:
    """Show one dead letter: reason, key, headers, and what would become of its payload now.

    The payload is held against the settings and the table as they are now, as `inspect` does.
    """
    config = options.pipeline(pipeline)
    [(partition, offset)] = offsets_by_partition(None, None, [place]).items()
    letters = _stored(config, Wanted(generation=generation, partition=partition, offset=offset, limit=1))
    if not letters:
        raise ConfigError(f"{config.name} has no dead letter at {place}: `arrow-ingest dead-letters list` shows them")
    [(letter, body)] = _with_bodies(config, letters)
    payload = None if body.payload is None else pa.py_buffer(body.payload)
    [outcome] = outcomes_of([(place, payload)], config, current_plan(config))
    if options.as_json:
        shown = {"key": body.key, "headers": [{"key": key, "value": value} for key, value in body.headers]}
        print_json({**dataclasses.asdict(letter), **shown, "now": outcome})
    else:
        print_people(*_sentences(letter, body, outcome))


@dead_letters.command()
@filters
@click.option(
    "--at", "places", multiple=True, metavar="PARTITION:OFFSET", callback=offsets_by_partition, help="This one only."
)
@click.option("--limit", type=click.IntRange(min=1), help="The newest so many. Default: all.")
@click.option("--out", required=True, metavar="DIR|-", help="A folder, which is made; or - for one payload on stdout.")
@common
def export(
    options: Common, pipeline: str | None, places: dict[int, int], limit: int | None, out: str, **chosen: Any
) -> None:
    """Write payloads as they were received: GENERATION-PARTITION-OFFSET.bin each, and index.json about all of them."""
    if len(places) > 1:
        raise click.BadParameter("name one place")
    [(partition, offset)] = places.items() or [(None, None)]
    config = options.pipeline(pipeline)
    letters = _stored(config, _wanted(limit=limit, partition=partition, offset=offset, **chosen))
    if out == "-":
        click.echo(_only_payload(config, letters), nl=False)
        return
    try:
        index = write_letters(Path(out), _with_bodies(config, letters))
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    if options.as_json:
        print_json({"letters": len(letters), "index": index})
    else:
        print_people(f"{len(letters)} dead letters: {index}")


@dead_letters.command()
@filters
@click.option("--limit", type=click.IntRange(min=1), help="The oldest so many. Default: all.")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only tell what would become of them.")
@waits("runs that drain the lanes now")
@common
def replay(
    options: Common,
    pipeline: str | None,
    limit: int | None,
    wait_seconds: float | None,
    *,
    is_dry_run: bool,
    **chosen: Any,
) -> None:
    """Bring dead letters into the table, each once, with the settings as they are now.

    For after a fix, or with a changed policy or limit. All that are accepted now come in one transaction, while no lane
    runs; what is refused still stays a dead letter. A second replay finds nothing to do. Exits with 1 if some stay.
    """
    config = options.pipeline(pipeline)
    done = replay_letters(
        config,
        _wanted(limit=limit, **chosen),
        run_id=new_run_id(),
        wait_seconds=longest_run_seconds(config) if wait_seconds is None else wait_seconds,
        is_dry_run=is_dry_run,
    )
    if options.as_json:
        print_json(_document(config, done))
    else:
        print_people(*_story(done))
    click.get_current_context().exit(Exit.FINDING if done.still_dead else Exit.OK)


@dead_letters.command()
@filters
@click.option(
    "--older-than-days",
    type=click.FloatRange(min=0),
    help="Default: `dead_letters.keep_days` of the YAML, if it is set.",
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only tell how many would expire.")
@common
def expire(
    options: Common, pipeline: str | None, older_than_days: float | None, *, is_dry_run: bool, **chosen: Any
) -> None:
    """Give up dead letters that are older than so many days: no replay takes them, and no check counts them any more.

    Payloads leave the table once all letters of their file were replayed or have expired, and the disk when maintenance
    cleans up. `verify` goes on counting their messages.
    """
    config = options.pipeline(pipeline)
    days = config.dead_letters.keep_days if older_than_days is None else older_than_days
    if days is None:
        raise ConfigError(
            f"{config.name} keeps dead letters for ever: set dead_letters.keep_days, or --older-than-days"
        )
    done = Expired()
    if catalog_of(config.lake).exists():
        before = datetime.now(UTC) - timedelta(days=days)
        with open_lake(config.lake, read_only=is_dry_run) as lake:
            if is_dry_run:
                done = what_expires(lake, config, _wanted(**chosen), before=before)
            else:
                ensure(lake, config)
                done = expire_letters(lake, config, _wanted(**chosen), before=before, run_id=new_run_id())
    if options.as_json:
        print_json({"pipeline": config.name, "dry_run": is_dry_run, **dataclasses.asdict(done)})
    else:
        verb = "would be given up" if is_dry_run else "were given up"
        print_people(f"{done.letters} dead letters {verb}, {done.files} files left the table")


def _document(config: PipelineConfig, done: Replayed) -> dict[str, object]:
    return {
        "pipeline": config.name,
        "dry_run": done.is_dry_run,
        "replayed": sum(done.replayed.values()),
        "rows": done.rows,
        "still_dead": sum(done.still_dead.values()),
        "replayed_by_reason": done.replayed,
        "still_dead_by_reason": done.still_dead,
        "snapshot_id": done.receipt.snapshot_id if done.receipt else None,
    }


def _story(done: Replayed) -> Iterator[str]:
    if not (done.replayed or done.still_dead):
        yield "There is no dead letter to replay."
        return
    verb = "would become" if done.is_dry_run else "became"
    yield f"{sum(done.replayed.values())} dead letters {verb} {done.rows} rows{_by_reason(done.replayed, 'were')}"
    yield f"{sum(done.still_dead.values())} stay{_by_reason(done.still_dead, 'are')}"
    if done.receipt is not None:
        yield f"snapshot {done.receipt.snapshot_id}"


def _by_reason(counts: Mapping[str, int], verb: str) -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f" ({verb} {listed})" if listed else ""


def _wanted(*, reasons: Sequence[str], **bounds: Any) -> Wanted:
    return Wanted(reasons=tuple(Reason(reason) for reason in reasons), **bounds)


def _stored(config: PipelineConfig, wanted: Wanted) -> tuple[StoredLetter, ...]:
    """What the lake holds; nothing while there is no lake."""
    if not catalog_of(config.lake).exists():
        return ()
    with open_lake(config.lake, read_only=True) as lake:
        return stored_letters(lake, config.name, config.lake, wanted)


def _with_bodies(config: PipelineConfig, letters: Sequence[StoredLetter]) -> Iterator[tuple[StoredLetter, Body]]:
    if letters:
        with open_lake(config.lake, read_only=True) as lake:
            yield from bodies(lake, config.lake, letters)


def _only_payload(config: PipelineConfig, letters: Sequence[StoredLetter]) -> bytes:
    """The payload that goes to stdout.

    Raises:
        ConfigError: there is not exactly one, or it has no value.
    """
    if len(letters) != 1:
        raise ConfigError(f"--out - takes one payload, and these are {len(letters)}: name it with --at")
    [(letter, body)] = _with_bodies(config, letters)
    if body.payload is None:
        raise ConfigError(f"the message at {letter.partition}:{letter.offset} had no value")
    return body.payload


def _sentences(letter: StoredLetter, body: Body, outcome: Outcome) -> Iterator[RenderableType]:
    rows: list[tuple[str, object]] = [
        (field.name.replace("_", " "), getattr(letter, field.name)) for field in dataclasses.fields(letter)
    ]
    rows.append(("key", _text(body.key)))
    rows += [(f"header {key}", _text(value)) for key, value in body.headers]
    yield table(["field", "value"], [(name, value) for name, value in rows])
    yield "Now:"
    yield from sentences([outcome])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
