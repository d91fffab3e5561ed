"""The component `arrow_ingest.SqlModel`: a YAML document to the definitions of one model of a pipeline's table."""

from typing import Self

import dagster as dg
from pydantic import BaseModel

from arrow_ingest.components.kafka_to_ducklake import Attributes
from arrow_ingest.components.model_definitions import model_definitions
from arrow_ingest.errors import ConfigError
from arrow_ingest.model_settings import SqlModel as Model
from arrow_ingest.project import YAML_NAMES, load_model


class SqlModel(dg.Component):
    """A query over a pipeline's table to a table of its own, by partition, refreshed as partitions are touched."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Permissive, see `Attributes`."""
        return Attributes

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` says."""
        return dg.ComponentTypeSpec(description=cls.__doc__, tags=["sql", "ducklake"])

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:  # noqa: ARG003 - the file is read
        """Read the document again, and the project's pipelines, as the CLI reads them.

        Raises:
            ConfigError: settings that cannot be used, with file, line and key.
        """
        folder, index = context.component_path.file_path, context.component_path.instance_key
        if not isinstance(index, int):
            raise ConfigError("a model is declared in YAML; from Python use arrow_ingest.model_definitions")
        file = next(folder / name for name in YAML_NAMES if (folder / name).is_file())
        return cls(load_model(file, index))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's interface
        """The model's definitions."""
        return model_definitions(self.model)
