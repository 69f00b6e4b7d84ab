"""Where blobs lie: ``dir:/path`` or ``s3://bucket/prefix?endpoint=…``, parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OPTIONS = {"endpoint", "region", "keys"}


@dataclass(frozen=True)
class DirectoryPlace:
    path: Path


@dataclass(frozen=True)
class BucketPlace:
    bucket: str
    prefix: str = ""
    """Before every key; empty or ending with a slash."""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    """None: where the client library looks for itself."""
    secret_key: str | None = field(default=None, repr=False)


def parse_place(name: str, value: str) -> DirectoryPlace | BucketPlace:
    """Raise ``ImproperlyConfigured`` naming the variable ``name``."""
    if value.startswith("dir:") and value.removeprefix("dir:").startswith("/"):
        return DirectoryPlace(Path(value.removeprefix("dir:")))
    url = urlsplit(value)
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.scheme != "s3" or not _BUCKET.fullmatch(url.netloc) or options.keys() - _OPTIONS:
        raise ImproperlyConfigured(
            f"{name}: dir:/absolute/path or s3://bucket/prefix?endpoint=https://…&region=…&keys=/file "
            "is needed."
        )
    prefix = url.path.strip("/")
    access, secret = _keys(name, options["keys"]) if "keys" in options else (None, None)
    return BucketPlace(
        url.netloc,
        f"{prefix}/" if prefix else "",
        options.get("endpoint"),
        options.get("region", "us-east-1"),
        access,
        secret,
    )


def _keys(name: str, file: str) -> tuple[str, str]:
    """The two lines of the file: access key and secret key."""
    try:
        access, secret = Path(file).read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(
            f"{name}: {file} must hold two lines, the access key and the secret key: {error}."
        ) from error
    return access, secret
