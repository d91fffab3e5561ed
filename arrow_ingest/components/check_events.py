"""A verdict to Dagster's event of a check."""

import dagster as dg

from arrow_ingest.components.history import Target
from arrow_ingest.components.verdicts import Verdict


def evaluation(table: dg.AssetKey, verdict: Verdict, target: Target | None) -> dg.AssetCheckEvaluation:
    """The event that stores a verdict, pointing at the materialisation that it is about."""
    return dg.AssetCheckEvaluation(
        asset_key=table,
        check_name=verdict.check.value,
        passed=verdict.passed,
        metadata={
            **verdict.numbers,
            **{key: dg.MetadataValue.json(dict(counts)) for key, counts in verdict.listed.items()},
        },
        target_materialization_data=target,
        severity=verdict.severity,
        description=verdict.says,
        partition=verdict.partition,
    )
