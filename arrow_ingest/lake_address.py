"""What the YAML may say of where a lake lies: the catalog's address, the data path, and how an S3 server is reached.

Keys and passwords never stand in the YAML: they come from the environment, or from a DuckDB secret that is named here.
"""

import re
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field

from arrow_ingest.setting import SettingsModel, Text

PASSWORD_KEY = re.compile(r"password\s*=", re.IGNORECASE)
PASSWORD_IN_URL = re.compile(r"//[^@]*:[^@]*@")
"""Where libpq would read a password from a DSN, and a little more: an innocent ``@`` can be written ``%40``."""

S3_SCHEME = "s3://"

_S3_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.'()=-]+)*/?")
"""A bucket and a prefix of the characters that S3 calls safe: others are spelled differently by different clients."""


def without_password(catalog: str) -> str:
    """A catalog's address as it is.

    Raises:
        ValueError: there is a password in it.
    """
    if not catalog.startswith("sqlite:") and (PASSWORD_KEY.search(unquote(catalog)) or PASSWORD_IN_URL.search(catalog)):
        raise ValueError(
            "there is a password in it, which errors, logs and DuckDB's list of databases would show: set "
            "PGPASSWORD, or PGPASSFILE to a file of passwords, in the environment"
        )
    return catalog


def data_path(path: str) -> str:
    """A data path as it is: a folder, or an address on S3.

    >>> data_path("lake/data"), data_path("s3://bucket/some/prefix/")
    ('lake/data', 's3://bucket/some/prefix/')
    >>> data_path("s3://bucket/../other")
    Traceback (most recent call last):
    ...
    ValueError: write s3://BUCKET/PREFIX/, of letters, digits and !_.'()=- between single slashes

    Raises:
        ValueError: it is a URL of another kind, or not an address that all S3 clients spell alike.
    """
    if "://" not in path:
        return path
    if not path.startswith(S3_SCHEME):
        raise ValueError("only folders and s3:// addresses can hold the files")
    if not _S3_URL.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ValueError("write s3://BUCKET/PREFIX/, of letters, digits and !_.'()=- between single slashes")
    return path


def _none_if_empty(value: object) -> object:
    """A template with an empty default, ``{{ env('NAME', '') }}``, means that nothing is set."""
    return None if value == "" else value


CatalogAddress = Annotated[Text, AfterValidator(without_password)]
DataPath = Annotated[Text, AfterValidator(data_path)]
_Optional = BeforeValidator(_none_if_empty)


class S3Config(SettingsModel):
    """How an `s3://` data path is reached; all of it may be left out, and none of it counts for a local folder."""

    endpoint: Annotated[
        Annotated[Text, Field(pattern=r"^https?://[^/@\s]+$")] | None,
        _Optional,
        Field(
            description="Address of an S3 server that is not AWS, such as http://minio:9000. Default: "
            "AWS_ENDPOINT_URL_S3, else AWS_ENDPOINT_URL, else AWS itself.",
        ),
    ] = None
    region: Annotated[
        Annotated[Text, Field(pattern=r"^[a-z0-9-]+$")] | None,
        _Optional,
        Field(
            description="Region of the bucket. Default: AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1.",
        ),
    ] = None
    url_style: Annotated[
        Literal["path", "vhost"] | None,
        _Optional,
        Field(
            description="path: endpoint/bucket/key; vhost: bucket.endpoint/key. Default: path with an endpoint, vhost "
            "on AWS itself."
        ),
    ] = None
    secret: Annotated[
        Text | None,
        _Optional,
        Field(
            description="Name of a persistent DuckDB secret of type s3 that holds the keys, and may hold endpoint, "
            "region and url_style. Default: keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
        ),
    ] = None
