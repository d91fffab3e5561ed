"""Where S3 is and as whom: YAML over secret or environment; what cannot be used is refused, and no key is shown."""

from pathlib import Path

import duckdb
import pydantic
import pytest

from arrow_ingest.config import LakeConfig
from arrow_ingest.environment import AwsVariables, aws_variables
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.engine import connected
from arrow_ingest.lake.s3_access import access_of, read_secret
from arrow_ingest.lake.store import store_of
from arrow_ingest.lake_address import S3Config

KEYS = {"AWS_ACCESS_KEY_ID": "hidden-id", "AWS_SECRET_ACCESS_KEY": "hidden-word", "AWS_SESSION_TOKEN": "hidden-token"}
NAMES = (*KEYS, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with keys, and nothing else of AWS."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, setting in KEYS.items():
        monkeypatch.setenv(name, setting)
    return monkeypatch


def lake(data_path: str = "s3://bucket/data", **s3: str) -> LakeConfig:
    return LakeConfig.model_validate({"catalog": "c.sqlite", "data_path": data_path, "s3": s3, "table": "t"})


def test_without_an_endpoint_it_is_aws_by_virtual_hosts(variables: pytest.MonkeyPatch) -> None:
    access = access_of(S3Config(), aws_variables())
    assert (access.endpoint, access.url_style, access.region, access.scheme) == (None, "vhost", "us-east-1", "https")
    assert access.host == "s3.us-east-1.amazonaws.com"


def test_an_endpoint_is_taken_by_path_unless_the_yaml_says_otherwise(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("AWS_ENDPOINT_URL", "http://minio:9000/")
    access = access_of(S3Config(), aws_variables())
    assert (access.scheme, access.host, access.url_style) == ("http", "minio:9000", "path")
    assert access_of(S3Config(url_style="vhost"), aws_variables()).url_style == "vhost"


@pytest.mark.parametrize(
    ("first", "second", "attribute"),
    [("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "endpoint"), ("AWS_REGION", "AWS_DEFAULT_REGION", "region")],
)
def test_the_special_variable_counts_before_the_general_one_and_the_yaml_before_both(
    variables: pytest.MonkeyPatch, first: str, second: str, attribute: str
) -> None:
    named = {"endpoint": ("http://a", "http://b", "http://c"), "region": ("a", "b", "c")}[attribute]
    variables.setenv(second, named[0])
    assert getattr(access_of(S3Config(), aws_variables()), attribute) == named[0]
    variables.setenv(first, named[1])
    assert getattr(access_of(S3Config(), aws_variables()), attribute) == named[1]
    assert getattr(access_of(S3Config(**{attribute: named[2]}), aws_variables()), attribute) == named[2]


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_key_that_is_missing_is_named(variables: pytest.MonkeyPatch, missing: str) -> None:
    variables.setenv(missing, "")
    with pytest.raises(ConfigError, match=f"no {missing}") as refused:
        store_of(lake())
    assert "hidden" not in f"{refused.value} {refused.value!r}"


def test_no_repr_shows_a_key(variables: pytest.MonkeyPatch) -> None:
    shown = f"{store_of(lake())!r} {aws_variables()!r} {lake()!r} {access_of(S3Config(), aws_variables())}"
    assert "hidden" not in shown
    assert "us-east-1" in shown


def test_no_list_of_a_session_shows_a_secret(variables: pytest.MonkeyPatch) -> None:
    """As it is loaded, httpfs copies the environment's keys into settings of its own, which show them in clear."""
    store = store_of(lake())
    with connected(store.extensions) as connection:
        assert "hidden-word" in str(connection.execute("FROM duckdb_settings()").fetchall())
        store.admit(connection, read_only=True)
        for listed in ("settings()", "secrets()", "databases()", "logs"):
            shown = str(connection.execute(f"FROM duckdb_{listed}").fetchall())
            assert "hidden-word" not in shown
            assert "hidden-token" not in shown


@pytest.mark.parametrize("given", ["s3://bucket", "s3://bucket/", "s3://bucket/a/b", "s3://bucket/a/b/"])
def test_the_data_path_ends_with_one_slash(variables: pytest.MonkeyPatch, given: str) -> None:
    assert store_of(lake(given)).root == f"{given.rstrip('/')}/"


@pytest.mark.parametrize(
    "path",
    [
        "gs://bucket/data",
        "http://host/bucket",
        "s3://",
        "s3://b",
        "s3://Bucket/data",
        "s3://key:secret@bucket/data",
        "s3://bucket//data",
        "s3://bucket/data?s3_access_key_id=hidden-word",
        "s3://bucket/da*ta",
        "s3://bucket/../other",
    ],
)
def test_addresses_that_clients_do_not_spell_alike_are_refused(path: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="s3://") as refused:
        lake(path)
    assert "hidden-word" not in str(refused.value)


@pytest.mark.parametrize(
    "s3",
    [
        {"endpoint": "minio:9000"},
        {"endpoint": "http://key:hidden-word@minio:9000"},
        {"endpoint": "http://minio:9000/bucket"},
        {"url_style": "virtual"},
        {"key_id": "hidden-word"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(s3: dict[str, str]) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        lake(**s3)
    assert "hidden-word" not in str(refused.value)


def test_an_empty_template_is_no_setting(variables: pytest.MonkeyPatch) -> None:
    assert lake(endpoint="", region="", url_style="", secret="").s3 == S3Config()


# DuckDB's persistent secrets


@pytest.fixture
def home(tmp_path: Path, variables: pytest.MonkeyPatch) -> Path:
    """Where DuckDB keeps persistent secrets; the environment has no keys."""
    for name in KEYS:
        variables.delenv(name)
    variables.setenv("HOME", str(tmp_path))
    return tmp_path


KEEP = S3Config.model_validate({"secret": "keep"})


def keep_secret(listed: str) -> None:
    """CREATE PERSISTENT SECRET keep, as a person would."""
    with connected(("httpfs",)) as connection:
        connection.execute(f"CREATE PERSISTENT SECRET keep (TYPE s3, {listed})")


def test_a_secret_says_where_and_as_whom_and_the_yaml_counts_over_it(home: Path) -> None:
    keep_secret(
        "KEY_ID 'hidden-id', SECRET 'a;b=c;d', REGION 'eu-west-1', "
        "ENDPOINT 'minio:9000', URL_STYLE 'path', USE_SSL false"
    )
    found = access_of(KEEP, aws_variables())
    assert (found.key_id, found.secret_key, found.session_token) == ("hidden-id", "a;b=c;d", None)
    assert (found.endpoint, found.region, found.url_style) == ("http://minio:9000", "eu-west-1", "path")
    here = access_of(KEEP.model_copy(update={"region": "here", "endpoint": "https://other"}), aws_variables())
    assert (here.endpoint, here.region) == ("https://other", "here")


def test_a_secret_without_an_endpoint_is_of_aws(home: Path) -> None:
    keep_secret("KEY_ID 'hidden-id', SECRET 'hidden-word', SESSION_TOKEN 'hidden-token'")
    found = access_of(KEEP, aws_variables())
    assert (found.endpoint, found.url_style, found.session_token) == (None, "vhost", "hidden-token")


def test_a_secret_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"lake\.s3\.secret: DuckDB knows no persistent secret 'gone'"):
        access_of(KEEP.model_copy(update={"secret": "gone"}), AwsVariables(None, None, None, None, None))


def test_a_secret_without_keys_is_refused(home: Path) -> None:
    keep_secret("REGION 'eu-west-1'")
    with pytest.raises(ConfigError, match="'keep' holds no key_id and secret"):
        access_of(KEEP, aws_variables())


def test_secrets_that_cannot_be_read_are_not_quoted(home: Path) -> None:
    keep_secret("KEY_ID 'hidden-id', SECRET 'hidden-word'")
    [file] = (home / ".duckdb" / "stored_secrets").iterdir()
    file.write_bytes(file.read_bytes()[:40] + b"\xff" * 40)
    with pytest.raises(ConfigError, match=r"lake\.s3\.secret") as refused:
        read_secret("keep")
    assert "hidden" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_only_the_connection_that_reads_secrets_can_show_them(home: Path) -> None:
    keep_secret("KEY_ID 'hidden-id', SECRET 'hidden-word'")
    with connected(("httpfs",)) as connection:
        [(shown,)] = connection.execute("SELECT secret_string FROM duckdb_secrets()").fetchall()
        assert "hidden-word" not in shown
        with pytest.raises(duckdb.Error, match="unredacted"):
            connection.execute("SELECT * FROM duckdb_secrets(redact => false)")
