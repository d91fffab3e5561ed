"""From the ledger, not from memory: emits one materialisation and its checks per touched table partition.

Whatever run committed them: the window begins where the newest materialisation says that publishing had come to, so
commits of other lanes, and of runs that died before they published, are in it.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy.exc import IntegrityError

from arrow_ingest.components import history
from arrow_ingest.components.check_events import evaluation
from arrow_ingest.components.column_lineage import COLUMN_LINEAGE, described, of_table
from arrow_ingest.components.evidence import evidence_of
from arrow_ingest.components.ledger_view import LedgerView, read_view
from arrow_ingest.components.metadata import (
    COLUMN_SCHEMA,
    PUBLISHED_THROUGH,
    WindowNumbers,
    partition_metadata,
    window_numbers,
)
from arrow_ingest.components.names import Check, Names
from arrow_ingest.components.publication import Publication, publications
from arrow_ingest.components.table_spec import event_tags, partitions_def
from arrow_ingest.components.verdicts import (
    Evidence,
    Verdict,
    lag_by_partition,
    late_rows,
    pipeline_verdicts,
    rows_accounted_for,
    small_files,
)
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import TransientError
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.values import Receipt

log = logging.getLogger(__name__)

LOCK_SECONDS = 60.0
"""How long a run that must publish waits for another publisher; one publication takes a second or two."""

_SEVERITIES = (dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR)

LAST_SECONDS = 10.0
"""How long a run that ends waits for another publisher; if that takes longer, the next publication tells it."""


class Publisher:
    """Publishes for one run: at its start, every `report_every_seconds`, and at its end."""

    def __init__(self, config: PipelineConfig, context: dg.AssetExecutionContext | dg.OpExecutionContext) -> None:
        self._config = config
        self._context = context
        self._table = Names.of(config).table
        self._receipts: list[Receipt] = []
        self._published_at = self._counted_from = time.monotonic()
        self._told: dict[tuple[Check, str | None], Verdict] = {}

    @property
    def is_due(self) -> bool:
        """Whether the last publication was `report_every_seconds` ago."""
        return time.monotonic() - self._published_at >= self._config.run.report_every_seconds

    def note(self, receipt: Receipt) -> None:
        """Count a receipt of this run into the numbers of the next publication."""
        self._receipts.append(receipt)

    def publish(self, requested: Iterable[str] = (), *, is_last: bool = False) -> None:
        """Emit what happened since the last publication, by whatever run, and the partitions asked for.

        When another run publishes for this pipeline right now, nothing is done: the next publication tells it. A run's
        last one (``is_last``), and one that partitions are ``requested`` of, waits for its turn: the other one may have
        read the ledger before this run's last commit.

        Raises:
            TransientError: the lake cannot be read, or another publisher did not come to its end.
        """
        requested = tuple(requested)
        patience_seconds = LOCK_SECONDS if requested else LAST_SECONDS if is_last else 0
        with _publisher_lock(self._config, patience_seconds=patience_seconds) as is_mine:
            if is_mine:
                self._publish(requested)
            elif requested:
                raise TransientError(
                    f"another run publishes for {self._config.name} for more than {LOCK_SECONDS:.0f} s"
                )
        self._published_at = time.monotonic()

    def publish_if_possible(self, requested: Iterable[str] = ()) -> None:
        """Publish, or leave it to the next publication when lake or locks are out of reach for now."""
        try:
            self.publish(requested)
        except TransientError:
            self._published_at = time.monotonic()
            log.warning("not published now, the next publication will tell it", exc_info=True)

    def _publish(self, requested: tuple[str, ...]) -> None:
        instance = self._context.instance
        published = history.published(instance, self._table)
        view = read_view(self._config, since=published.through)
        evidence = evidence_of(self._config, view, published.columns)
        planned = publications(
            view.commits,
            view.totals,
            since=view.since,
            requested=requested,
            declared=evidence.declared,
        )
        self._add_values([publication.value for publication in planned if publication.value is not None])
        window = self._window_numbers(evidence) if planned else WindowNumbers()
        for publication in planned:
            is_last = publication is planned[-1]
            self._materialise(publication, view, {**window.gauges, **(window.sums if is_last else {})})
        verdicts = [self._standing(verdict) for verdict in pipeline_verdicts(self._config, evidence)]
        if planned or any(self._is_news(verdict) for verdict in verdicts):
            through = max([view.since, *(commit.snapshot_id for commit in view.commits)])
            for verdict in verdicts:
                self._tell(verdict, through if verdict.check is Check.OFFSETS_CONTIGUOUS else None)

    def _materialise(self, publication: Publication, view: LedgerView, numbers: Mapping[str, float]) -> None:
        """One materialisation, and right after it the checks of that partition, or its badge stays blank (FACTS)."""
        value = publication.value
        metadata = {
            **partition_metadata(self._config, publication, view.totals.get(value)),
            **numbers,
            "late_rows": view.late.get(value, 0) if value is not None else 0,
            PUBLISHED_THROUGH: publication.published_through,
        }
        if view.schema is not None:
            lineage = of_table([column.name for column in view.schema.columns], Names.of(self._config).topic)
            metadata[COLUMN_SCHEMA] = described(view.schema.columns, lineage)
            metadata[COLUMN_LINEAGE] = lineage
        self._context.log_event(
            dg.AssetMaterialization(
                self._table, partition=value, metadata=metadata, tags=event_tags(self._config, publication.version)
            )
        )
        self._tell(rows_accounted_for(value, view.totals, view.table_rows))
        self._tell(self._standing(late_rows(value, view.late)))
        self._tell(small_files(self._config, value, view.files, datetime.now(UTC)))

    def _add_values(self, keys: list[str]) -> None:
        """Tell Dagster of table partitions that appeared, where they are values: an event alone declares none."""
        values = partitions_def(self._config)
        if keys and isinstance(values, dg.DynamicPartitionsDefinition):
            self._context.instance.add_dynamic_partitions(Names.of(self._config).table_partitions, keys)

    def _window_numbers(self, evidence: Evidence) -> WindowNumbers:
        """The numbers of the window that ends now, and the beginning of the next one."""
        lag = sum(lag_by_partition(evidence.topic, evidence.lanes).values()) if evidence.topic is not None else None
        numbers = window_numbers(self._receipts, seconds=time.monotonic() - self._counted_from, lag=lag)
        self._receipts.clear()
        self._counted_from = time.monotonic()
        return numbers

    def _standing(self, verdict: Verdict) -> Verdict:
        """``verdict``, or what this run already said when that was a failure of an earlier window.

        Dagster keeps one row per run, check and partition: a later success would erase the failure.
        """
        told = self._told.get((verdict.check, verdict.partition))
        if told is None or told.passed:
            return verdict
        if verdict.passed:
            return told if verdict.is_about_window else verdict
        # Still failing: what an earlier window of this run made an error of stays one.
        return replace(verdict, severity=max(told.severity, verdict.severity, key=_SEVERITIES.index))

    def _is_news(self, verdict: Verdict) -> bool:
        told = self._told.get((verdict.check, verdict.partition))
        return told is None or (told.passed, told.severity) != (verdict.passed, verdict.severity)

    def _tell(self, verdict: Verdict, through: int | None = None) -> None:
        """Emit a check; with the snapshot ``through`` which it all is published then, for `history.published`.

        Dagster keeps one row per run and check, and the row that was *made* last counts: what this run says again would
        stand in its first row, behind that of a run that has spoken since (another lane's, or a check run alone), and
        the badge would be blank. Then it is said outside of the run, in a row of its own; of a table partition Dagster
        keeps one such row for ever (1.13), so after that it is said within the run, and the next run sets the badge.
        """
        instance, subject = self._context.instance, (verdict.check, verdict.partition)
        is_overtaken = (
            subject in self._told and history.newest_teller(instance, self._table, *subject) != self._context.run.run_id
        )
        self._told[subject] = verdict
        target = history.newest_materialization(instance, self._table, verdict.partition)
        if through is not None:
            verdict = replace(verdict, numbers={**verdict.numbers, PUBLISHED_THROUGH: through})
        told = evaluation(self._table, verdict, target)
        if is_overtaken:
            with suppress(IntegrityError):
                instance.report_runless_asset_event(told)
                return
        # Dagster takes a check's answer from a plain op as well, only its annotation does not say so.
        self._context.log_event(told)  # type: ignore[arg-type]


@contextmanager
def _publisher_lock(config: PipelineConfig, *, patience_seconds: float) -> Iterator[bool]:
    """Hold the pipeline's publisher lock; False when another publisher held it all the time."""
    catalog, deadline = catalog_of(config.lake), time.monotonic() + patience_seconds
    while True:
        with catalog.publisher_lock(config.name) as is_mine:
            if is_mine or time.monotonic() >= deadline:
                yield is_mine
                return
        time.sleep(0.2)
