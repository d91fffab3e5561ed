"""A cron trigger to a schedule: at its times one run per lane, with the op, job and tags that the sensor would use.

Like the sensor it runs in the code server, so it never opens the lake; what it knows of a lane is the run history.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from arrow_ingest.components.lane_sensor import lane_runs, said
from arrow_ingest.components.lane_supervision import Launch, decide_on_schedule
from arrow_ingest.components.names import Names
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError


def build_drain_schedule(config: PipelineConfig) -> dg.ScheduleDefinition:
    """The schedule of a pipeline whose `run.trigger` is a cron expression. A lane with a run in flight gets none.

    Raises:
        ConfigError: Dagster does not take the expression.
    """
    names = Names.of(config)

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        decisions = {
            lane: decide_on_schedule(now, lane_runs(config, context.instance, lane, now))
            for lane in range(config.lanes)
        }
        launched = [lane for lane, decision in decisions.items() if isinstance(decision, Launch)]
        if not launched:
            yield dg.SkipReason(said(decisions))
        elif len(launched) < config.lanes:
            context.log.info(said(decisions))
        for lane in launched:
            # Dagster wants a key where a tick asks for several runs; it counts within the tick only.
            yield dg.RunRequest(run_key=f"lane-{lane}", tags=names.run_tags(lane))

    try:
        return dg.ScheduleDefinition(
            name=names.schedule,
            cron_schedule=config.run.cron,
            job_name=names.job,
            execution_fn=tick,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Starts one run per lane of {config.name}.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(f"{config.name}: Dagster does not take {config.run.trigger!r}", key="run.trigger") from error
