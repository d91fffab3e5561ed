"""Every environment variable that the files of docker/ may set, by who reads it. Others are misspelt."""

import re
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.project import PACKAGED_DEFS

OURS = frozenset(
    value for name, value in vars(environment).items() if name.isupper() and isinstance(value, str) and value.isupper()
)
"""What `arrow_ingest.environment` names."""

PACKAGED = frozenset(
    name for file in sorted(PACKAGED_DEFS.rglob("*.yaml")) for name in re.findall(r"env\('([A-Z_]+)'", file.read_text())
)
"""What the packaged pipeline's YAML asks for."""

LIBPQ = frozenset({"PGPASSWORD"})
"""https://www.postgresql.org/docs/current/libpq-envars.html"""

AWS = frozenset({"AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})
"""https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html"""

DAGSTER = frozenset({"DAGSTER_CURRENT_IMAGE"})
"""The image that a code location says its runs start from."""

DAGSTER_YAML = frozenset(
    name
    for file in ("dagster.yaml", "workspace.yaml")
    for name in re.findall(r"\{env: ([A-Z_]+)\}", (Path(__file__).parents[2] / "docker" / file).read_text())
)
"""What `docker/dagster.yaml` and `docker/workspace.yaml` ask for."""

POSTGRES_IMAGE = frozenset({"POSTGRES_PASSWORD"})
MINIO_IMAGE = frozenset({"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"})
GRAFANA_IMAGE = frozenset(
    {
        "GF_AUTH_ANONYMOUS_ENABLED",
        "GF_AUTH_ANONYMOUS_ORG_ROLE",
        "GF_AUTH_BASIC_ENABLED",
        "GF_AUTH_DISABLE_LOGIN_FORM",
        "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION",
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
    }
)
"""https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/: GF_<section>_<key>."""
KAFKA_IMAGE = frozenset({"CLUSTER_ID"})
"""And every broker's setting as KAFKA_..., which `test_kafka_takes_its_settings` starts a broker with."""

PROCESSES = OURS | PACKAGED | LIBPQ | AWS | DAGSTER | DAGSTER_YAML
"""What a process of ours reads."""
