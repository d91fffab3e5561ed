"""Replays dead letters, or rebuilds table partitions, and dies or waits at a labelled point as `crash_drain` does.

Usage: ``python -m arrow_ingest_tests.crash_repair PIPELINE_JSON replay|KEY [POINT [OCCURRENCE | wait]]``
"""

import json
import sys
from collections.abc import Callable, Iterator

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.pipeline.rebuild import rebuild
from arrow_ingest.pipeline.rebuild_choice import these
from arrow_ingest.pipeline.replay import replay
from arrow_ingest.values import Point, Receipt
from arrow_ingest_tests.crash_drain import tell
from arrow_ingest_tests.crash_points import observer


def repair(config: PipelineConfig, task: str, at: Callable[[Point], None]) -> Iterator[Receipt | None]:
    if task == "replay":
        yield replay(config, Wanted(), run_id="crash-test", wait_seconds=0, at=at).receipt
    else:
        yield from rebuild(config, these([task]), run_id="crash-test", wait_seconds=0, at=at)


if __name__ == "__main__":
    tell(repair(PipelineConfig.model_validate(json.loads(sys.argv[1])), sys.argv[2], observer(sys.argv[3:])))
