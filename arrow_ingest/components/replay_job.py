"""The job `replay_dead_letters_<pipeline>`: dead letters to rows, published like those of a drain.

An op and not the table's asset: a run of that wants a partition in the UI, and nobody knows which days come of letters.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from arrow_ingest.components.background import BackgroundDrain
from arrow_ingest.components.names import Names
from arrow_ingest.components.publisher import Publisher
from arrow_ingest.components.run_log import lines_on_stderr
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.pipeline.lane_locks import longest_run_seconds
from arrow_ingest.pipeline.replay import Replayed, replay
from arrow_ingest.values import Reason, Receipt


class ReplayConfig(dg.Config):
    """Which dead letters; by default all that are unresolved."""

    reasons: list[str] = []  # noqa: RUF012  pydantic copies defaults
    since: str | None = None
    limit: int | None = None
    dry_run: bool = False


def build_replay_job(pipeline: PipelineConfig) -> dg.JobDefinition:
    """The job; its run waits for the lanes' runs to end."""
    names = Names.of(pipeline)

    @dg.op(name=names.replay_op, description="Tries dead letters again, with the settings as they are now.")
    def replay_letters(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        publisher = Publisher(pipeline, context)
        try:
            with lines_on_stderr(pipeline.name, context.run_id):
                done = _replayed(pipeline, config, context.run_id)
                publisher.publish(is_last=True)
        except (ArrowIngestError, ValueError) as error:
            raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error
        context.add_output_metadata(
            {
                "replayed": sum(done.replayed.values()),
                "rows": done.rows,
                "still_dead": sum(done.still_dead.values()),
                "replayed_by_reason": dg.MetadataValue.json(dict(done.replayed)),
                "still_dead_by_reason": dg.MetadataValue.json(dict(done.still_dead)),
                "dry_run": done.is_dry_run,
            }
        )

    @dg.job(
        name=names.replay_job,
        executor_def=dg.in_process_executor,
        description=f"Brings dead letters of {pipeline.name} into the table, each once. Run config: reasons, since, "
        "limit, dry_run.",
    )
    def replay_dead_letters() -> None:
        replay_letters()

    return replay_dead_letters


def _replayed(config: PipelineConfig, asked: ReplayConfig, run_id: str) -> Replayed:
    """The replay, on a thread of its own: Dagster's interrupt must not land inside native code.

    Raises:
        ValueError: a reason or the time is none.
    """
    done: list[Replayed] = []
    wanted = wanted_of(asked)

    def work(stop: threading.Event) -> Iterator[Receipt | None]:
        done.append(
            replay(
                config,
                wanted,
                run_id=run_id,
                wait_seconds=longest_run_seconds(config),
                is_dry_run=asked.dry_run,
                stop=stop,
            )
        )
        yield done[0].receipt

    with BackgroundDrain(work) as receipts:
        for _ in receipts:
            pass
    return done[0]


def wanted_of(asked: ReplayConfig) -> Wanted:
    """The run config's choice.

    >>> wanted_of(ReplayConfig(since="2026-11-04T02:00")).since.isoformat()
    '2026-11-04T02:00:00+00:00'

    Raises:
        ValueError: a reason or the time is none.
    """
    since = None if asked.since is None else datetime.fromisoformat(asked.since)
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return Wanted(reasons=tuple(Reason(reason) for reason in asked.reasons), since=since, limit=asked.limit)
