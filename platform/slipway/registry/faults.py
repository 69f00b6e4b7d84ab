"""Errors as the specification writes them: ``{"errors": [{"code", "message", "detail"}]}``."""

from __future__ import annotations

import json
from typing import Any

import structlog

from slipway.bodies import ClientGone
from slipway.registry.answers import Answer
from slipway.registry.calls import Call
from slipway.repositories.errors import InsufficientGrant, MissingBlobs, NoSuchRepository, OutOfOrder
from workers.errors import SlipwayError, UserError

log = structlog.get_logger(__name__)

# Our code → the specification's, and the status.
CODES: dict[str, tuple[str, int]] = {
    "NOT_FOUND": ("NAME_UNKNOWN", 404),
    "NAME_INVALID": ("NAME_INVALID", 400),
    "TAG_INVALID": ("MANIFEST_INVALID", 400),
    "DIGEST_INVALID": ("DIGEST_INVALID", 400),
    "DIGEST_MISMATCH": ("DIGEST_INVALID", 400),
    "BLOB_UNKNOWN": ("BLOB_UNKNOWN", 404),
    "BLOB_UPLOAD_UNKNOWN": ("BLOB_UPLOAD_UNKNOWN", 404),
    "BLOB_UPLOAD_INVALID": ("BLOB_UPLOAD_INVALID", 400),
    "BODY_INCOMPLETE": ("BLOB_UPLOAD_INVALID", 400),
    "UPLOAD_BUSY": ("BLOB_UPLOAD_INVALID", 409),
    "RANGE_INVALID": ("BLOB_UPLOAD_INVALID", 416),
    "SIZE_INVALID": ("SIZE_INVALID", 400),
    "BLOB_IN_USE": ("UNSUPPORTED", 405),
    "MANIFEST_IN_USE": ("UNSUPPORTED", 405),
    "MANIFEST_UNKNOWN": ("MANIFEST_UNKNOWN", 404),
    "MANIFEST_INVALID": ("MANIFEST_INVALID", 400),
    "MANIFEST_TOO_LARGE": ("MANIFEST_INVALID", 413),
    "MANIFEST_BLOB_UNKNOWN": ("MANIFEST_BLOB_UNKNOWN", 404),
    "TAG_IMMUTABLE": ("DENIED", 403),
    "QUOTA_EXCEEDED": ("DENIED", 403),
    "NOT_ALLOWED": ("DENIED", 403),
    "SCOPE_MISSING": ("DENIED", 403),
    "MFA_REQUIRED": ("DENIED", 403),
    "INSUFFICIENT_SCOPE": ("UNAUTHORIZED", 401),
    "AUTHENTICATION_REQUIRED": ("UNAUTHORIZED", 401),
    "BEARER_INVALID": ("UNAUTHORIZED", 401),
    "TOKEN_INVALID": ("UNAUTHORIZED", 401),
    "TOKEN_EXPIRED": ("UNAUTHORIZED", 401),
    "TOKEN_REVOKED": ("UNAUTHORIZED", 401),
    "TOO_MANY_REQUESTS": ("TOOMANYREQUESTS", 429),
    "UNSUPPORTED": ("UNSUPPORTED", 405),
    "HOST_UNKNOWN": ("UNSUPPORTED", 400),
    "NO_SPACE": ("UNKNOWN", 507),
    "BLOB_STORE_FAILED": ("UNKNOWN", 503),
}
ANSWERED_BY_SIGNING_IN = ("BEARER_INVALID", "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED")


class Unsupported(UserError):
    code = "UNSUPPORTED"


class UnknownHost(UserError):
    """No method would do: the request is for somebody else."""

    code = "HOST_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("This host name is not served here (SLIPWAY_HOSTS).")


class InvalidUpload(UserError):
    code = "BLOB_UPLOAD_INVALID"


class SignInFirst(UserError):
    """Nobody has said who they are, and it matters."""

    code = "AUTHENTICATION_REQUIRED"

    def __init__(self) -> None:
        super().__init__("Sign in first: docker login, with a token as the password.")


def answer_to(error: Exception, call: Call, *, anonymous: bool) -> Answer:
    """Unexpected errors are logged whole and tell nothing."""
    if not isinstance(error, SlipwayError) or error.code not in CODES:
        log.error("registry_failed", method=call.method, path=call.path, exc_info=error)
        return _envelope(500, "UNKNOWN", "Something went wrong on our side; the log has it.", {})
    if anonymous and isinstance(error, NoSuchRepository):
        # Whether it exists is nobody's business; a client takes this as the request to sign in.
        error = SignInFirst()
    code, status = CODES[error.code]
    detail: dict[str, Any] = dict(error.facts)
    if isinstance(error, MissingBlobs):
        return _many(status, code, error)
    answer = _envelope(status, code, error.message, detail)
    if status == 401:
        answer.headers["WWW-Authenticate"] = challenge(call, error)
    if status == 429:
        answer.headers["Retry-After"] = str(detail.get("retry_after", 60))
    if isinstance(error, OutOfOrder):
        answer.headers |= {"Location": call.path, "Range": f"0-{max(0, error.offset - 1)}"}
    if isinstance(error, ClientGone) or status in (403, 413, 507):
        answer.leaves_body = True
    return answer


def challenge(call: Call, error: SlipwayError | None = None) -> str:
    """Where to get a token, and for what."""
    parts = [f'realm="{call.base}/auth/token"', f'service="{call.host}"']
    if scope := wanted_scope(call):
        parts.append(f'scope="{scope}"')
    if isinstance(error, InsufficientGrant):
        parts.append('error="insufficient_scope"')
    elif error is not None and error.code in ANSWERED_BY_SIGNING_IN:
        parts.append('error="invalid_token"')
    return f"Bearer {','.join(parts)}"


def wanted_scope(call: Call) -> str:
    """Pushing is asked for even where pulling would do: some clients never ask for a second token.

    Whoever may not push is given a token without it.
    """
    if call.route == "catalog":
        return "registry:catalog:*"
    if not call.name:
        return ""
    actions = "pull,push,delete" if call.method == "DELETE" else "pull,push"
    scope = f"repository:{_plain(call.name)}:{actions}"
    if source := call.parameter("from"):
        scope += f" repository:{_plain(source)}:pull"
    return scope


def _plain(name: str) -> str:
    """As it may stand within a header's quotes."""
    return "".join(each for each in name[:255] if (each.isascii() and each.isalnum()) or each in "._-/")


def _many(status: int, code: str, error: MissingBlobs) -> Answer:
    errors = [
        {"code": code, "message": f"{digest} is not in this repository", "detail": {"digest": digest}}
        for digest in error.digests[:100]
    ]
    errors[0]["message"] = error.message
    return Answer(status, {"Content-Type": "application/json"}, json.dumps({"errors": errors}).encode())


def _envelope(status: int, code: str, message: str, detail: dict[str, Any]) -> Answer:
    body = {"errors": [{"code": code, "message": message, "detail": detail}]}
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())
