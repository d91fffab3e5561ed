"""`arrow-ingest verify`: the lake against its own ledger, and against what the broker still holds."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import click
from rich.console import RenderableType

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import BrokerUnavailable, TopicMissing
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.findings import VerifyReport
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify as verify_lake
from arrow_ingest.pipeline.standing import ASK_SECONDS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verified:
    """One pipeline's report; ``is_broker_asked`` says whether the broker answered."""

    pipeline: str
    report: VerifyReport
    is_broker_asked: bool

    def document(self) -> dict[str, object]:
        """What `--json` shows."""
        findings = [
            {"severity": finding.severity, "code": finding.code, "detail": finding.detail}
            for finding in self.report.findings
        ]
        return {
            "pipeline": self.pipeline,
            "ok": self.report.ok,
            "broker_asked": self.is_broker_asked,
            "findings": findings,
            **self.report.numbers,
        }


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option("--full", is_flag=True, help="Decode every page of every file, not only the columns that name rows.")
@click.option(
    "--since", type=click.IntRange(min=0), default=0, help="Leave out what came with this snapshot or before."
)
@click.option("--sample", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Share of commits and files.")
@click.option("--strict", is_flag=True, help="Rows that others added or deleted, and accepted losses, count too.")
@common
def verify(options: Common, pipelines: tuple[str, ...], *, full: bool, since: int, sample: float, strict: bool) -> None:
    """Prove that every message's rows are in the table, each of them once, and that every file can be read.

    Exits with 1 when something is wrong. The reported snapshot is what the next --since can go on from. A broker that
    does not answer is not asked; the lake is verified all the same.
    """
    results = [
        _verified(config, full=full, since=since, sample=sample, strict=strict)
        for config in options.pipelines(pipelines)
    ]
    if options.as_json:
        print_json([result.document() for result in results])
    else:
        print_people(*(part for result in results for part in _sentences(result)))
    is_ok = all(result.report.ok for result in results)
    click.get_current_context().exit(Exit.OK if is_ok else Exit.FINDING)


def _verified(config: PipelineConfig, *, full: bool, since: int, sample: float, strict: bool) -> Verified:
    if not catalog_of(config.lake).exists():
        return Verified(config.name, VerifyReport(ok=True, findings=(), numbers={}), is_broker_asked=False)
    with open_lake(config.lake, read_only=True) as lake:
        prove = partial(verify_lake, lake, config, full=full, since=since, sample=sample, strict=strict)
        try:
            with Cluster(config.kafka, timeout_seconds=ASK_SECONDS) as cluster:
                return Verified(config.name, prove(topic=cluster.topic_state), is_broker_asked=True)
        except (BrokerUnavailable, TopicMissing) as error:
            log.warning("the broker is not asked: %s", error)
            return Verified(config.name, prove(), is_broker_asked=False)


def _sentences(result: Verified) -> Iterator[RenderableType]:
    report = result.report
    yield f"{result.pipeline}: {'ok' if report.ok else 'NOT OK'}"
    yield from (f"{finding.severity.upper()} {finding.code}: {finding.detail}" for finding in report.findings)
    if report.numbers:
        yield table([name.replace("_", " ") for name in report.numbers], [list(report.numbers.values())])
    else:
        yield "nothing committed yet"
