"""The component `arrow_ingest.KafkaToDuckLake`: a YAML document to the definitions of one pipeline."""

from typing import Self

import dagster as dg
from pydantic import BaseModel, ConfigDict

from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.project import YAML_NAMES, load_pipeline


class Attributes(BaseModel):
    """What stands under ``attributes``; the pipeline's own model checks it, with file, line and key in its errors."""

    model_config = ConfigDict(extra="allow")


class KafkaToDuckLake(dg.Component):
    """Arrow IPC streams on a Kafka topic to a DuckLake table, exactly once, supervised by Dagster."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Permissive, see :class:`Attributes`."""
        return Attributes

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` says."""
        return dg.ComponentTypeSpec(description=cls.__doc__, tags=["kafka", "arrow", "ducklake"])

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Read the document again as the CLI reads it, so that both mean the same by the same YAML.

        Raises:
            ConfigError: settings that cannot be used, with file, line and key.
        """
        folder, index = context.component_path.file_path, context.component_path.instance_key
        if not isinstance(index, int):  # attributes from Python code: no file, templates already filled in
            return cls(PipelineConfig.model_validate(attributes.model_dump() if attributes else {}))
        file = next(folder / name for name in YAML_NAMES if (folder / name).is_file())
        return cls(load_pipeline(file, index))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's interface
        """The pipeline's definitions."""
        return pipeline_definitions(self.config)
