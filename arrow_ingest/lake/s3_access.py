"""Settings and environment in, what both S3 clients need to reach a bucket out: address and keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import duckdb

from arrow_ingest.environment import AWS_KEY_ID, AWS_SECRET_KEY, AwsVariables
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.engine import connected
from arrow_ingest.lake_address import S3Config

DEFAULT_REGION = "us-east-1"
"""What servers other than AWS expect unless they are told otherwise, and where AWS sends us on from."""

_SECRET_FIELDS = frozenset({"key_id", "secret", "session_token", "region", "endpoint", "url_style", "use_ssl"})


@dataclass(frozen=True, slots=True)
class S3Access:
    """Where and as whom; no repr shows the keys.

    Args:
        endpoint: scheme, host and port of a server that is not AWS.
    """

    key_id: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    endpoint: str | None
    region: str
    url_style: Literal["path", "vhost"]

    @property
    def scheme(self) -> Literal["http", "https"]:
        """https, unless the endpoint says otherwise."""
        return "http" if (self.endpoint or "").startswith("http://") else "https"

    @property
    def host(self) -> str:
        """Host and port of the endpoint, or of AWS in the region."""
        return (self.endpoint or f"https://s3.{self.region}.amazonaws.com").partition("://")[2].rstrip("/")


def access_of(settings: S3Config, variables: AwsVariables) -> S3Access:
    """The YAML counts over a DuckDB secret that it names; without one, over the environment.

    Raises:
        ConfigError: there are no keys.
        MissingPart: the DuckDB extension that reads secrets is missing.
    """
    if settings.secret is not None:
        return access_by_secret(settings, read_secret(settings.secret))
    if variables.key_id is None or variables.secret_key is None:
        missing = AWS_KEY_ID if variables.key_id is None else AWS_SECRET_KEY
        raise ConfigError(
            f"the environment has no {missing}: set {AWS_KEY_ID} and {AWS_SECRET_KEY}, or name a persistent DuckDB "
            "secret in lake.s3.secret",
            key="lake.data_path",
        )
    return _access(
        settings,
        key_id=variables.key_id,
        secret_key=variables.secret_key,
        session_token=variables.session_token,
        endpoint=variables.endpoint,
        region=variables.region,
        url_style=None,
    )


def access_by_secret(settings: S3Config, secret: Mapping[str, str]) -> S3Access:
    """What a secret's fields say, as `read_secret` gives them. An address of AWS itself is no endpoint.

    >>> access_by_secret(S3Config(secret="s"), {"key_id": "k", "secret": "s", "endpoint": "minio:9000"})
    S3Access(endpoint='https://minio:9000', region='us-east-1', url_style='path')

    Raises:
        ConfigError: it holds no keys.
    """
    if not secret.get("key_id") or not secret.get("secret"):
        raise ConfigError(f"the DuckDB secret {settings.secret!r} holds no key_id and secret", key="lake.s3.secret")
    host = secret.get("endpoint", "")
    is_aws = not host or host.endswith("amazonaws.com")
    scheme = "http" if secret.get("use_ssl") == "false" else "https"
    return _access(
        settings,
        key_id=secret["key_id"],
        secret_key=secret["secret"],
        session_token=secret.get("session_token") or None,
        endpoint=None if is_aws else f"{scheme}://{host}",
        region=secret.get("region") or None,
        url_style=secret.get("url_style") or None,
    )


def read_secret(name: str) -> dict[str, str]:
    """The fields of a persistent DuckDB secret of type s3, by a connection that nobody else uses.

    Raises:
        ConfigError: there is no such secret, or it cannot be read.
        MissingPart: the extension httpfs is missing, which knows the type.
    """
    try:
        with connected(("httpfs",), shows_secrets=True) as connection:
            found = connection.execute(
                "SELECT secret_string FROM duckdb_secrets(redact => false) WHERE name = ? AND type = 's3'", [name]
            ).fetchall()
    except duckdb.Error as error:
        # Not chained: what DuckDB quotes may be a part of the secret.
        raise ConfigError(f"DuckDB cannot read its secrets ({type(error).__name__})", key="lake.s3.secret") from None
    if not found:
        raise ConfigError(
            f"DuckDB knows no persistent secret {name!r} of type s3: CREATE PERSISTENT SECRET {name} (TYPE s3, ...), "
            "as the user who runs this",
            key="lake.s3.secret",
        )
    return secret_fields(found[0][0])


def secret_fields(shown: str) -> dict[str, str]:
    """The fields of a secret as `duckdb_secrets` shows it. A semicolon within a value is kept.

    >>> secret_fields("name=s;type=s3;key_id=k;secret=a;b=c;use_ssl=false")
    {'key_id': 'k', 'secret': 'a;b=c', 'use_ssl': 'false'}
    """
    fields: dict[str, str] = {}
    last: str | None = None
    for part in shown.split(";"):
        name, equals, value = part.partition("=")
        if equals and name in _SECRET_FIELDS:
            fields[name] = value
            last = name
        elif equals and name in _OTHER_FIELDS:
            last = None
        elif last is not None:
            fields[last] += f";{part}"
    return fields


_OTHER_FIELDS = frozenset(
    {
        "assume_role_arn",
        "chain",
        "kms_key_id",
        "name",
        "profile",
        "provider",
        "refresh_info",
        "requester_pays",
        "scope",
        "serializable",
        "type",
        "url_compatibility_mode",
        "validation",
    }
)
"""What else `duckdb_secrets` shows of a secret."""


def _access(
    settings: S3Config,
    *,
    key_id: str,
    secret_key: str,
    session_token: str | None,
    endpoint: str | None,
    region: str | None,
    url_style: str | None,
) -> S3Access:
    endpoint = settings.endpoint or endpoint
    style = settings.url_style or url_style or ("path" if endpoint else "vhost")
    return S3Access(
        key_id=key_id,
        secret_key=secret_key,
        session_token=session_token,
        endpoint=endpoint,
        region=settings.region or region or DEFAULT_REGION,
        url_style="path" if style == "path" else "vhost",
    )
