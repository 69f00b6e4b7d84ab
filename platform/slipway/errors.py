"""Error code -> HTTP status, and the one way an error leaves by HTTP: an RFC 9457 problem document.

Every door of ours that speaks HTTP answers errors through ``problem_of`` and ``response``: DRF views by
``exception_handler`` (settings.REST_FRAMEWORK), plain Django views by ``handler404`` and friends in urls.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions as drf

from workers.errors import NodeError, SlipwayError, UserError

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"
CHALLENGE = 'Bearer realm="slipway"'
CSRF_FIX = "Send the CSRF cookie's value as X-CSRFToken, or use a token: Authorization: Bearer slp_…"

# Codes whose status is not told by their class (UserError 400, NodeError 503, the rest 500).
STATUS: dict[str, int] = {
    "AUTHENTICATION_REQUIRED": 401,
    "TOKEN_INVALID": 401,
    "TOKEN_EXPIRED": 401,
    "TOKEN_REVOKED": 401,
    "SCOPE_MISSING": 403,
    "NOT_ALLOWED": 403,
    "MFA_REQUIRED": 403,
    "PERMISSION_DENIED": 403,
    "CSRF_FAILED": 403,
    "QUOTA_EXCEEDED": 403,
    "REGISTRY_NOT_ALLOWED": 403,
    "NOT_FOUND": 404,
    "BLOB_UNKNOWN": 404,
    "IMAGE_UNKNOWN": 404,
    "MANIFEST_UNKNOWN": 404,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "CONTAINER_UNKNOWN": 404,
    "METHOD_NOT_ALLOWED": 405,
    "BODY_INCOMPLETE": 408,
    "NOT_ACCEPTABLE": 406,
    "LAYER_NOT_KEPT": 409,
    "NAME_TAKEN": 409,
    "TAG_IMMUTABLE": 409,
    "BLOB_IN_USE": 409,
    "MANIFEST_IN_USE": 409,
    "IMAGE_IN_USE": 409,
    "JOB_ENDED": 409,
    "JOB_ACTIVE": 409,
    "JOB_NOT_REPEATABLE": 409,
    "BUILD_CONTEXT_GONE": 409,
    "BUILD_SECRETS_NEEDED": 409,
    "CONTEXT_INCOMPLETE": 409,
    "BUILD_OUTPUT_MISSING": 409,
    "QUOTA_REQUEST_PENDING": 409,
    "QUOTA_REQUEST_DECIDED": 409,
    "IDEMPOTENCY_MISMATCH": 409,
    "CONTAINER_NOT_RUNNING": 409,
    "CONTAINER_RUNNING": 409,
    "CONTAINER_BUSY": 409,
    "CONTAINER_REMOVED": 409,
    "IMAGE_AMBIGUOUS": 409,
    "NOT_EMPTY": 409,
    "LOG_GONE": 410,
    "INVITATION_GONE": 410,
    "BODY_TOO_LARGE": 413,
    "ARCHIVE_TOO_LARGE": 413,
    "MEDIA_TYPE_UNSUPPORTED": 415,
    "TOO_MANY_REQUESTS": 429,
    "REGISTRY_ERROR": 502,
    "REGISTRY_UNREACHABLE": 502,
    "REGISTRY_LIMITED": 429,
    "REGISTRY_DENIED": 403,
    "ADDRESS_REFUSED": 403,
    "RUNTIME_FAILED": 502,
    "NODE_UNREACHABLE": 503,
    "NO_SPACE": 507,
}


class MalformedBody(UserError):
    """The request's body cannot be read as what its Content-Type says."""

    code = "BODY_MALFORMED"


class BodyTooLarge(UserError):
    code = "BODY_TOO_LARGE"


class NotSignedIn(UserError):
    """No credentials came with the request; the answer carries a challenge."""

    code = "AUTHENTICATION_REQUIRED"


class CsrfFailed(UserError):
    """A request with the session's cookie but without proof that our own page sent it."""

    code = "CSRF_FAILED"


class NotForYou(UserError):
    """What is asked for is no secret, but takes more than this caller has."""

    code = "PERMISSION_DENIED"


class UnsupportedMediaType(UserError):
    code = "MEDIA_TYPE_UNSUPPORTED"


@dataclass(frozen=True)
class FieldError:
    """One field at fault. ``field`` is a path as in ``limits.memory`` or ``env[3]``."""

    field: str
    message: str


class InvalidFields(UserError):
    """A body or query that was understood but holds values that cannot be."""

    code = "VALIDATION_FAILED"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        first, rest = errors[0], len(errors) - 1
        more = f' (and {rest} more, see "errors")' if rest else ""
        super().__init__(f"{first.field}: {first.message}{more}")
        self.errors = tuple(errors)


@dataclass(frozen=True)
class Problem:
    """An error as a client sees it."""

    status: int
    code: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        request_id = structlog.contextvars.get_contextvars().get("request_id", "")
        document: dict[str, Any] = {
            "type": f"urn:slipway:problem:{self.code.lower().replace('_', '-')}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "instance": f"urn:slipway:request:{request_id}",
            "request_id": request_id,
            "facts": dict(self.facts),
        }
        if self.errors:
            document["errors"] = [{"field": each.field, "message": each.message} for each in self.errors]
        return document


def status_of(error: SlipwayError) -> int:
    if error.code in STATUS:
        return STATUS[error.code]
    if isinstance(error, UserError):
        return 400
    return 503 if isinstance(error, NodeError) else 500


def problem_of(error: BaseException) -> Problem:
    """What a client may know of ``error``. An unexpected one is logged whole and tells nothing but its id."""
    if isinstance(error, SlipwayError) and error.code != SlipwayError.code:
        return _of_ours(error)
    if isinstance(error, drf.APIException):
        return _of_framework(error)
    for kind, problem in _OF_DJANGO.items():
        if isinstance(error, kind):
            return problem
    log.error("request_failed", exc_info=error)
    return Problem(500, "INTERNAL", _INTERNAL)


def response(problem: Problem) -> HttpResponse:
    answer = JsonResponse(problem.document(), status=problem.status, content_type=PROBLEM_JSON)
    for name, value in {"Cache-Control": "no-store", **problem.headers}.items():
        answer.headers[name] = value
    return answer


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's ``EXCEPTION_HANDLER``."""
    return response(problem_of(error))


# --------------------------------------------------------------------------- Django's handlers (urls.py)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _speaks_problems(request):
        return response(problem_of(exception))
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _speaks_problems(request):
        return response(problem_of(exception))
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _speaks_problems(request):
        return response(Problem(404, "NOT_FOUND", f"There is nothing at {request.path}. See /api/v1/docs."))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django has logged the exception already."""
    if _speaks_problems(request):
        return response(Problem(500, "INTERNAL", _INTERNAL))
    return defaults.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """``CSRF_FAILURE_VIEW``."""
    if _speaks_problems(request):
        return response(problem_of(CsrfFailed(f"{reason} {CSRF_FIX}".strip())))
    from django.views.csrf import csrf_failure as page

    return page(request, reason)


def _speaks_problems(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/healthz", "/readyz", "/metrics"))


_INTERNAL = "Something went wrong on our side. The log has it under this request's id."
_OF_DJANGO: dict[type[Exception], Problem] = {
    Http404: Problem(404, "NOT_FOUND", "There is no such thing here, or it is not yours to see."),
    PermissionDenied: Problem(403, "PERMISSION_DENIED", "You may not do that."),
    RequestDataTooBig: Problem(413, "BODY_TOO_LARGE", "The request's body is larger than this door takes."),
    SuspiciousOperation: Problem(400, "BAD_REQUEST", "The request is malformed."),
}


def _of_ours(error: SlipwayError) -> Problem:
    status = status_of(error)
    if status == 500:
        log.error("request_failed", exc_info=error)
    headers = {"WWW-Authenticate": _challenge(error)} if status == 401 else {}
    errors = error.errors if isinstance(error, InvalidFields) else ()
    return Problem(status, error.code, error.message, error.facts, errors, headers)


def _challenge(error: SlipwayError) -> str:
    """RFC 6750: a request that brought no token is told no error."""
    if isinstance(error, NotSignedIn):
        return CHALLENGE
    return f'{CHALLENGE}, error="invalid_token", error_description="{error.code}"'


_FRAMEWORK_CODES: dict[type[drf.APIException], str] = {
    drf.ParseError: "BODY_MALFORMED",
    drf.AuthenticationFailed: "TOKEN_INVALID",
    drf.NotAuthenticated: "AUTHENTICATION_REQUIRED",
    drf.PermissionDenied: "PERMISSION_DENIED",
    drf.NotFound: "NOT_FOUND",
    drf.MethodNotAllowed: "METHOD_NOT_ALLOWED",
    drf.NotAcceptable: "NOT_ACCEPTABLE",
    drf.UnsupportedMediaType: "MEDIA_TYPE_UNSUPPORTED",
    drf.Throttled: "TOO_MANY_REQUESTS",
}


def _of_framework(error: drf.APIException) -> Problem:
    if isinstance(error, drf.ValidationError):
        return _of_ours(InvalidFields(list(field_errors(error.detail))))
    if isinstance(error, drf.NotAuthenticated):
        return _of_ours(NotSignedIn("Sign in, or send a token: Authorization: Bearer slp_…"))
    code = _FRAMEWORK_CODES.get(type(error), HTTPStatus(error.status_code).name)
    headers: dict[str, str] = {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait) + 1)
    return Problem(error.status_code, code, str(error.detail), headers=headers)


def field_errors(detail: Any, path: str = "") -> list[FieldError]:
    """Flatten DRF's nested lists and dicts of messages into paths."""
    if isinstance(detail, Mapping):
        found: list[FieldError] = []
        for name, value in detail.items():
            if isinstance(name, int):
                found += field_errors(value, f"{path}[{name}]")
            elif name == "non_field_errors":
                found += field_errors(value, path)
            else:
                found += field_errors(value, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(detail, list | tuple):
        if all(isinstance(each, str) for each in detail):
            return [FieldError(path or "body", str(each)) for each in detail]
        return [
            error
            for index, each in enumerate(detail)
            for error in (field_errors(each, f"{path}[{index}]") if each else [])
        ]
    return [FieldError(path or "body", str(detail))]
