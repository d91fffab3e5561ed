"""Arrow IPC record batches on Kafka to DuckLake tables, exactly once, under Dagster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrow_ingest.components.kafka_to_ducklake import KafkaToDuckLake
    from arrow_ingest.components.model_definitions import model_definitions
    from arrow_ingest.components.pipeline_definitions import pipeline_definitions
    from arrow_ingest.components.sql_model import SqlModel
    from arrow_ingest.config import PipelineConfig
    from arrow_ingest.producer.arrow import ArrowProducer

__version__ = "0.1.0"
__all__ = [
    "ArrowProducer",
    "KafkaToDuckLake",
    "PipelineConfig",
    "SqlModel",
    "model_definitions",
    "pipeline_definitions",
]

_HOMES = {
    "ArrowProducer": "arrow_ingest.producer.arrow",
    "KafkaToDuckLake": "arrow_ingest.components.kafka_to_ducklake",
    "PipelineConfig": "arrow_ingest.config",
    "SqlModel": "arrow_ingest.components.sql_model",
    "model_definitions": "arrow_ingest.components.model_definitions",
    "pipeline_definitions": "arrow_ingest.components.pipeline_definitions",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for: some bring Dagster, which costs seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from arrow_ingest import environment

    environment.prepare()
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """With the public names, which is how Dagster finds the component."""
    return [*globals(), *__all__]
