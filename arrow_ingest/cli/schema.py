"""`arrow-ingest schema`: the JSON schema of a pipeline's YAML."""

import click

from arrow_ingest.cli.output import print_json
from arrow_ingest.reference.json_schema import document_schema


@click.command()
def schema() -> None:
    """Print the JSON schema of a pipeline's YAML on stdout.

    Kept in a file that the YAML's first line names as `# yaml-language-server: $schema=FILE`, it lets editors complete
    and check the settings.
    """
    print_json(document_schema())
