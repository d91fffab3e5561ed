"""The job `rebuild_<pipeline>`: table partitions made anew from the log, then published.

An op and not the table's asset: Dagster starts a backfill's runs in a job of its own, without this one's run config,
and what came of it would be a drain.
"""

import dagster as dg

from arrow_ingest.components.names import Names
from arrow_ingest.components.rebuilding import rebuild_and_publish
from arrow_ingest.components.run_log import lines_on_stderr
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.pipeline.rebuild_choice import chosen


class RebuildConfig(dg.Config):
    """Which table partitions: a range, both ends included, or some by their keys; none for a table without any."""

    first: str | None = None
    last: str | None = None
    partitions: list[str] = []  # noqa: RUF012  pydantic copies defaults


def build_rebuild_job(pipeline: PipelineConfig) -> dg.JobDefinition:
    """The job; its run waits for the lanes' runs to end."""
    names = Names.of(pipeline)

    @dg.op(name=names.rebuild_op, description="Reads the messages of table partitions again and replaces their rows.")
    def rebuild_partitions(context: dg.OpExecutionContext, config: RebuildConfig) -> None:
        try:
            with lines_on_stderr(pipeline.name, context.run_id):
                choice = chosen(pipeline, config.first, config.last, config.partitions)
                done = rebuild_and_publish(pipeline, context, choice)
        except ArrowIngestError as error:
            raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error
        context.add_output_metadata(
            {
                "partitions": dg.MetadataValue.json([part.value for receipt in done for part in receipt.touched]),
                "messages": sum(receipt.tally.messages for receipt in done),
                "rows": sum(receipt.tally.rows for receipt in done),
                "files": sum(receipt.files for receipt in done),
            }
        )

    @dg.job(
        name=names.rebuild_job,
        executor_def=dg.in_process_executor,
        description=f"Makes table partitions of {pipeline.lake.schema_name}.{pipeline.lake.table} anew from the log. "
        "Run config: first and last, or partitions.",
    )
    def rebuild_table() -> None:
        rebuild_partitions()

    return rebuild_table
