"""OpenAPI: what drf-spectacular cannot see for itself — pages, problems, our two ways to sign in."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "An RFC 9457 problem document.",
    "required": ["type", "title", "status", "detail", "code", "instance", "request_id", "facts"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:slipway:problem:name-taken"]},
        "title": {"type": "string", "examples": ["Name taken"]},
        "status": {"type": "integer", "examples": [409]},
        "detail": {"type": "string", "description": "One sentence: what, where, how to fix."},
        "code": {"type": "string", "description": "Stable; meant for programs.", "examples": ["NAME_TAKEN"]},
        "instance": {"type": "string", "format": "uri"},
        "request_id": {"type": "string", "description": "As in X-Request-Id and in the server's log."},
        "facts": {"type": "object", "additionalProperties": True},
        "errors": {
            "type": "array",
            "description": "One entry per field at fault, where fields are.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "examples": ["limits.memory_bytes"]},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


@cache
def page_of(kind: type[serializers.Serializer]) -> serializers.Serializer:
    """The schema of a page of ``kind``: one of that name, however many views answer it."""
    noun = kind.__name__.removesuffix("Out").removesuffix("Serializer")
    return inline_serializer(
        f"{noun}Page",
        {"items": kind(many=True), "next": serializers.URLField(allow_null=True, help_text="The next page.")},
    )


class Schema(AutoSchema):
    """Tagged by room; what a view's docstring tells its maintainers stays with them."""

    def get_tags(self) -> list[str]:
        return [type(self.view).__module__.split(".")[-2]]

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        return ""

    def get_serializer_name(self, serializer: serializers.Serializer, direction: Any) -> str:
        """``ContainerOut`` is a Container, ``ContainerIn`` a ContainerRequest."""
        name = type(serializer).__name__
        return name.removesuffix("Out") if direction == "response" else name.removesuffix("In")


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook: every operation may answer a problem; those that need a caller say 401, too."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    challenge = {"description": "How to sign in (RFC 6750).", "schema": {"type": "string"}}
    components["responses"] = {
        "Problem": {"description": "What went wrong, and how to put it right.", "content": content},
        "Unauthenticated": {
            "description": "No token, or one that is unknown, expired or revoked.",
            "headers": {"WWW-Authenticate": challenge},
            "content": content,
        },
        "NotFound": {"description": "It does not exist, or you may not see it.", "content": content},
    }
    for path, methods in result["paths"].items():
        for operation in methods.values():
            answers = operation["responses"]
            if {} not in operation.get("security", [{}]):
                answers["401"] = {"$ref": "#/components/responses/Unauthenticated"}
            if "{" in path:
                answers["404"] = {"$ref": "#/components/responses/NotFound"}
            answers["default"] = {"$ref": "#/components/responses/Problem"}
    return result


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it registers itself
    target_class = "slipway.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "slp_<prefix>_<secret>"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # likewise
    target_class = "slipway.accounts.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The console's session; anything but GET needs X-CSRFToken as well.",
        }
