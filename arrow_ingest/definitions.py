"""What Dagster loads: every pipeline and model of the project that the current folder lies in, else the packaged one.

The pipelines are found as the CLI finds them, so that an installed package needs no `pyproject.toml` beside it. A
project of your own may as well use Dagster's `load_from_defs_folder`, with the component in its YAML.
"""

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """All of their definitions. The in-process executor saves one process per run that a person launches."""
    from arrow_ingest import environment

    environment.prepare()
    from arrow_ingest.components.model_definitions import model_definitions
    from arrow_ingest.components.pipeline_definitions import pipeline_definitions
    from arrow_ingest.project import load_models, load_pipelines

    found = [pipeline_definitions(config) for config in load_pipelines()]
    found += [model_definitions(model) for model in load_models()]
    return dg.Definitions.merge(*found, dg.Definitions(executor=dg.in_process_executor))
