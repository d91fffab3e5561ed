"""The environment: the one place where its names appear.

==============================  ======================================================================================
``KAFKA_BOOTSTRAP_SERVERS``     brokers of the packaged pipeline (its YAML has the default)
``ARROW_INGEST_CATALOG``        catalog of the packaged pipeline
``ARROW_INGEST_DATA_PATH``      folder of the packaged pipeline's Parquet files
``ARROW_INGEST_LANES``          lanes of the packaged pipeline
``ARROW_INGEST_ALERT_URLS``     where alerts go: apprise addresses, separated by white space; they hold secrets
``ARROW_INGEST_UI_URL``         address of Dagster's UI in the packaged pipeline's alerts
``ARROW_INGEST_LOG_FORMAT``     ``json``: log lines of commands and runs are one JSON object each; else text
``ARROW_INGEST_STACK_POSTGRES`` DSN of a PostgreSQL that the stack uses instead of starting one
``AWS_ACCESS_KEY_ID``           keys of an S3 data path, with ``AWS_SECRET_ACCESS_KEY``; temporary ones with
                                ``AWS_SESSION_TOKEN`` too. Not read when the YAML names a DuckDB secret
``AWS_ENDPOINT_URL_S3``         the S3 server where the YAML names none; else ``AWS_ENDPOINT_URL``, else AWS
``AWS_REGION``                  the bucket's region where the YAML names none; else ``AWS_DEFAULT_REGION``
``ACERO_ALIGNMENT_HANDLING``    set by :func:`prepare`, unless it is set already
``ARROW_DEFAULT_MEMORY_POOL``   set by :func:`prepare`, unless it is set already
``DAGSTER_HOME``                set by the demo, for itself and for the Dagster that it starts
==============================  ======================================================================================

A pipeline's YAML may name any other variable as ``{{ env.NAME }}``, and a project's ``.env`` file may set any. Nothing
is read when this module is imported.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arrow_ingest.errors import ConfigError

BOOTSTRAP_SERVERS = "KAFKA_BOOTSTRAP_SERVERS"
CATALOG = "ARROW_INGEST_CATALOG"
DATA_PATH = "ARROW_INGEST_DATA_PATH"
LANES = "ARROW_INGEST_LANES"

ALERT_URLS = "ARROW_INGEST_ALERT_URLS"
UI_URL = "ARROW_INGEST_UI_URL"

LOG_FORMAT = "ARROW_INGEST_LOG_FORMAT"

STACK_POSTGRES = "ARROW_INGEST_STACK_POSTGRES"

AWS_KEY_ID = "AWS_ACCESS_KEY_ID"
AWS_SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  a name, no secret
AWS_SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105  a name, no secret
AWS_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
AWS_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

ACERO_ALIGNMENT = "ACERO_ALIGNMENT_HANDLING"
ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"
DAGSTER_HOME = "DAGSTER_HOME"

ENV_FILE = ".env"


def prepare() -> None:
    """Set what libraries read once, when they are loaded. Entry points call this before anything imports pyarrow.

    Payloads inside librdkafka's receive buffer are not aligned. Arrow reads them correctly, but Acero would write one
    warning per column and batch to stderr.

    The Parquet writer's buffers come from malloc, which a drain tells to keep them (`pipeline.allocator`): a fifth less
    CPU and two thirds of the memory of Arrow's own default, which gives pages back and faults them in again.
    """
    os.environ.setdefault(ACERO_ALIGNMENT, "ignore")
    os.environ.setdefault(ARROW_POOL, "system")


def enter_dagster_home(home: Path) -> None:
    """Make ``home`` this process's DAGSTER_HOME: the demo's ``dagster.yaml`` refers to it."""
    os.environ[DAGSTER_HOME] = str(home)


def set_variables(values: Mapping[str, str]) -> None:
    """Set variables of this process, as the demo does with what leads to the servers that it has started."""
    os.environ.update(values)


def load_env_file(folder: Path) -> None:
    """Set what the ``.env`` file of a project's folder says, over what is set already, as Dagster's commands do.

    Raises:
        ConfigError: the file cannot be read.
    """
    file = folder / ENV_FILE
    if not file.is_file():
        return
    from dotenv import dotenv_values

    try:
        values = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(file)) from error
    set_variables({name: value for name, value in values.items() if value is not None})


def variables() -> Mapping[str, str]:
    """The environment as it is now, as a copy."""
    return dict(os.environ)


def alert_urls(variable: str = ALERT_URLS) -> tuple[str, ...]:
    """The addresses that alerts go to, as they are now. They hold tokens and passwords: never log them."""
    return tuple(os.environ.get(variable, "").split())


def logs_as_json() -> bool:
    """Whether log lines are to be JSON.

    Raises:
        ConfigError: the variable says something else.
    """
    wanted = os.environ.get(LOG_FORMAT, "").lower()
    if wanted not in ("", "text", "json"):
        raise ConfigError(f"{wanted!r} is neither text nor json", key=LOG_FORMAT)
    return wanted == "json"


def stack_postgres() -> str | None:
    """The DSN of a PostgreSQL that the stack is to use, by a user who may make databases; None: it starts one."""
    return os.environ.get(STACK_POSTGRES) or None


@dataclass(frozen=True, slots=True)
class AwsVariables:
    """What the environment says of S3; None where it says nothing, be it because a variable is empty."""

    key_id: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    endpoint: str | None
    region: str | None


def aws_variables() -> AwsVariables:
    """The usual variables of AWS's own tools, as they are now. They hold secrets: never log them."""

    def first(*names: str) -> str | None:
        return next((found for name in names if (found := os.environ.get(name))), None)

    return AwsVariables(
        key_id=first(AWS_KEY_ID),
        secret_key=first(AWS_SECRET_KEY),
        session_token=first(AWS_SESSION_TOKEN),
        endpoint=first(*AWS_ENDPOINTS),
        region=first(*AWS_REGIONS),
    )
