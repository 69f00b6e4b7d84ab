"""The bases of our REST views: who asks, what the body says, and views that may wait for long."""

from __future__ import annotations

from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from slipway.accounts.policy import Actor
from slipway.errors import FieldError, InvalidFields

S = TypeVar("S", bound="StrictSerializer")


class StrictSerializer(serializers.Serializer):
    """Refuses what it does not know: a mistyped optional field must not be silently ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(str(name) for name in data.keys() - self.fields.keys())
            if unknown:
                known = ", ".join(name for name, each in self.fields.items() if not each.read_only)
                raise serializers.ValidationError(
                    {name: [f"No such field. Known here: {known}."] for name in unknown}
                )
        return super().to_internal_value(data)


class ApiView(APIView):
    """A view whose caller is ``self.actor``; anonymous callers never reach the handler."""

    @property
    def actor(self) -> Actor:
        actor = self.request.auth
        assert isinstance(actor, Actor), "reached without authentication"
        return actor

    def body(self, kind: type[S]) -> dict[str, Any]:
        """The validated body; raise ``InvalidFields``."""
        return _validated(kind, self.request.data)

    def query(self, kind: type[S]) -> dict[str, Any]:
        """The validated query; raise ``InvalidFields``. A name given twice counts only where a list is due."""
        fields = kind().fields
        given = {
            name: values if isinstance(fields.get(name), serializers.ListField) else values[-1]
            for name, values in self.request.GET.lists()
        }
        return _validated(kind, given)


def _validated(kind: type[S], data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InvalidFields([FieldError("body", f"An object was expected, not {type(data).__name__}.")])
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    validated: dict[str, Any] = serializer.validated_data
    return validated


class AsyncApiView(ApiView):
    """As ``ApiView``, with ``async def`` handlers. Authentication runs in a thread; the handler decides
    when to give it back (``slipway.threads.give_back``)."""

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]  # Django calls a view with async handlers as a coroutine
        self.args = args
        self.kwargs = kwargs
        wrapped: Request = self.initialize_request(request, *args, **kwargs)
        self.request = wrapped
        self.headers = self.default_response_headers
        try:
            await sync_to_async(self.initial)(wrapped, *args, **kwargs)
            allowed = (wrapped.method or "").lower()
            handler = getattr(self, allowed, None) if allowed in self.http_method_names else None
            if handler is None:
                self.http_method_not_allowed(wrapped, *args, **kwargs)
            response: HttpResponseBase = await handler(wrapped, *args, **kwargs)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001  # the exception handler answers, and logs what it does not know
            response = self.handle_exception(error)
        self.response = self.finalize_response(wrapped, response, *args, **kwargs)
        return self.response


__all__ = ["SAFE_METHODS", "ApiView", "AsyncApiView", "StrictSerializer"]
