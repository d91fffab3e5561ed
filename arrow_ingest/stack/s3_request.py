"""A request to an S3 server in, the same signed (AWS Signature Version 4) and sent out.

For what neither DuckDB nor pyarrow can ask for: bucket policies.
"""

import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit

from arrow_ingest.errors import StackFailed

REGION = "us-east-1"
TIMEOUT_SECONDS = 20.0
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key and its secret."""

    access: str
    secret: str = field(repr=False)


def send(
    method: str, endpoint: str, path: str, keys: Keys, *, query: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Send a signed request; what the server answered.

    Raises:
        StackFailed: it refused, or did not answer.
    """
    headers = signed_headers(method, endpoint, path, keys, datetime.now(UTC), query=query or {}, body=body)
    url = f"{endpoint}{quote(path)}?{urlencode(query or {})}"
    request = urllib.request.Request(url, data=body or None, headers=headers, method=method)  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            said: bytes = answer.read()
            return said
    except urllib.error.HTTPError as error:
        raise StackFailed(f"S3's {method} {path}", f"{error} {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise StackFailed(f"S3's {method} {path}", str(error)) from error


def signed_headers(
    method: str, endpoint: str, path: str, keys: Keys, when: datetime, *, query: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """The headers that make the request ours, for some minutes from ``when`` on."""
    digest = hashlib.sha256(body).hexdigest()
    stamp = when.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    headers = {"host": urlsplit(endpoint).netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    canonical = "\n".join(
        [
            method,
            quote(path),
            urlencode(sorted(query.items()), quote_via=quote),
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            names,
            digest,
        ]
    )
    to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": f"{_ALGORITHM} {credential}"}
