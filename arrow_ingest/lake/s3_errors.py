"""What S3 said, by whichever client, to our errors: the only place that tells its refusals apart.

Neither client gives the code of a refusal an attribute of its own: pyarrow writes it into the message, DuckDB's httpfs
into the body of the answer. What the server wrote besides may quote the key id, so it is not shown.
"""

import re
from collections.abc import Mapping

import duckdb

from arrow_ingest.environment import AWS_ENDPOINTS, AWS_KEY_ID, AWS_REGIONS, AWS_SECRET_KEY, AWS_SESSION_TOKEN
from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable, ConfigError

_BY_PYARROW = re.compile(
    r"AWS Error (?P<code>[A-Z_]+)(?: \(HTTP status (?P<status>\d+)\))? during (?P<operation>\w+) operation"
    r"(?:: Unable to parse ExceptionName: (?P<other>\w+))?"
)
_IN_BODY = re.compile(r"<Code>(\w+)</Code>")

_KEYS = f"see that {AWS_KEY_ID} and {AWS_SECRET_KEY}, or the DuckDB secret of lake.s3.secret, are those of this server"
_RIGHTS = (
    "the key has to be allowed GetObject, PutObject and, for verify and doctor, ListBucket on it; maintenance removes "
    "files with a key of its own, which may DeleteObject"
)
_REGION = f"correct lake.s3.region, or {AWS_REGIONS[0]}"

_ADVICE: Mapping[str, tuple[str, str]] = {
    "accessdenied": ("lake.data_path", _RIGHTS),
    "allaccessdisabled": ("lake.data_path", _RIGHTS),
    "authorizationheadermalformed": ("lake.s3.region", _REGION),
    "illegallocationconstraintexception": ("lake.s3.region", _REGION),
    "invalidaccesskeyid": ("lake.s3", _KEYS),
    "invalidbucketname": ("lake.data_path", "correct the bucket's name"),
    "nosuchbucket": ("lake.data_path", "create the bucket, or correct its name: arrow_ingest makes none"),
    "permanentredirect": ("lake.s3.region", _REGION),
    "signaturedoesnotmatch": ("lake.s3", _KEYS),
}
"""Refusals that only a person can do something about: the setting to look at, and what to do."""

_LATER: Mapping[str, str] = {
    "expiredtoken": f"the temporary keys have expired: renew {AWS_SESSION_TOKEN} and the keys that belong to it",
    "invalidtoken": f"{AWS_SESSION_TOKEN} does not belong to the keys, or has expired",
    "requestexpired": "the clock of this machine is wrong",
    "requesttimetooskewed": "the clock of this machine is wrong",
    "networkconnection": f"see that the server runs and that lake.s3.endpoint, or {AWS_ENDPOINTS[0]}, is its address",
}
"""What may be over when a run starts anew."""

_OF_THE_OBJECT = frozenset({"invalidrange", "validation"})
"""Its size or its checksum is not what it was: the object is to blame, not the server."""


def outage_by_pyarrow(error: OSError, doing: str) -> ArrowIngestError | None:
    """The error to raise instead of one of pyarrow's S3 client; None if S3 did not fail.

    >>> said = "When uploading ...: AWS Error NO_SUCH_BUCKET during PutObject operation: ..."
    >>> outage_by_pyarrow(OSError(said), "cannot write below s3://b/")
    ConfigError('lake.data_path: cannot write below s3://b/: S3 answers PutObject with NO_SUCH_BUCKET: create the bucket, or correct its name: arrow_ingest makes none')
    """  # noqa: E501
    found = _BY_PYARROW.search(str(error))
    if found is None or _plain(found["code"]) in _OF_THE_OBJECT:
        return None
    code = found["other"] or found["code"]
    if code == "UNKNOWN" and found["status"]:
        code = f"HTTP {found['status']}"
    return refusal(code, f"{doing}: S3 answers {found['operation']} with {code}")


def outage_by_httpfs(error: duckdb.Error, doing: str) -> ArrowIngestError | None:
    """The error to raise instead of one of DuckDB's about an answer of S3's; None if it is not about one."""
    status = error.status_code if isinstance(error, duckdb.HTTPException) else 0
    # Where several files are deleted in one request, the answer is told by a plain IOException.
    found = _IN_BODY.search(error.body if isinstance(error, duckdb.HTTPException) else str(error))
    code = found[1] if found else {401: "AccessDenied", 403: "AccessDenied", 301: "PermanentRedirect"}.get(status, "")
    shown = " ".join(part for part in (f"HTTP {status}" if status else "", code) if part)
    return refusal(code, f"{doing}: S3 answers with {shown}") if shown else None


def refusal(code: str, says: str) -> ArrowIngestError:
    """The error of a code, in either spelling; what is not known to be a person's matter may be over later.

    >>> refusal("SLOW_DOWN", "S3 is busy"), refusal("ExpiredToken", "no").__class__.__name__
    (CatalogUnavailable('S3 is busy'), 'CatalogUnavailable')
    """
    known = _plain(code)
    if known in _ADVICE:
        key, advice = _ADVICE[known]
        return ConfigError(f"{says}: {advice}", key=key)
    return CatalogUnavailable(f"{says}: {_LATER[known]}" if known in _LATER else says)


def _plain(code: str) -> str:
    """A code as both clients could spell it."""
    return code.replace("_", "").lower()
