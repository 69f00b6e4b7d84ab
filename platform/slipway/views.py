"""The bases of our REST views: who asks, what the body says, and views that may wait for long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from slipway.accounts.actors import Actor
from slipway.errors import FieldError, InvalidFields
from slipway.jobs.idempotency import HEADER, Answer, fingerprint, once, parse_key
from slipway.pagination import DEFAULT_LIMIT, MAX_LIMIT, paginate


class StrictSerializer(serializers.Serializer):
    """Refuses what it does not know: a mistyped optional field must not be silently ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(str(name) for name in data.keys() - self.fields.keys())
            if unknown:
                message = f"No such field. Known here: {', '.join(self.fields) or 'none'}."
                raise serializers.ValidationError({name: [message] for name in unknown})
        return super().to_internal_value(data)


class PageQuery(StrictSerializer):
    """What every list takes; lists with filters add theirs."""

    cursor = serializers.CharField(required=False, default=None, help_text="From a previous answer's `next`.")
    limit = serializers.IntegerField(
        required=False, default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT, help_text="Items per page."
    )


class ApiView(APIView):
    """A view whose caller is ``self.actor``; anonymous callers never reach the handler."""

    repeatable = False
    """Whether POST heeds ``Idempotency-Key``. Its answer is kept for a day, so it must hold no secret."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.repeatable and request.method == "POST" and HEADER in request.headers:
            handler: Callable[..., Response] = getattr(self, request.method.lower())
            vars(self)["post"] = lambda request, **path: self._once(request, lambda: handler(request, **path))

    def _once(self, request: Request, act: Callable[[], Response]) -> Response:
        address = request.get_full_path().encode()
        mark = fingerprint(b"POST", address, request._request.body)

        def answer() -> Answer:
            response = act()
            return Answer(response.status_code, response.data, response.headers.get("Location", ""))

        return answered(once(self.actor, parse_key(request.headers[HEADER]), mark, answer))

    @property
    def actor(self) -> Actor:
        actor = self.request.auth
        if not isinstance(actor, Actor):
            raise AssertionError("reached without authentication")
        return actor

    def body(self, kind: type[StrictSerializer]) -> dict[str, Any]:
        """The validated body; raise ``InvalidFields``."""
        return validated(kind, self.request.data)

    def query(self, kind: type[StrictSerializer]) -> dict[str, Any]:
        """The validated query; raise ``InvalidFields``."""
        return validated_query(kind, self.request)

    def page(
        self,
        asked: dict[str, Any],
        rows: QuerySet[Any],
        kind: type[serializers.BaseSerializer],
        order: Sequence[str] = ("-created_at", "-id"),
    ) -> Response:
        """The page of ``rows`` that ``asked`` (a validated ``PageQuery``) names."""
        page = paginate(self.request, rows, order, cursor=asked["cursor"], limit=asked["limit"])
        return Response({"items": kind(page.items, many=True).data, "next": page.next})


def answered(answer: Answer) -> Response:
    """The response to a request that came with an ``Idempotency-Key``."""
    headers = {"Location": answer.location} if answer.location else {}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.body, status=answer.status, headers=headers)


def validated_query(kind: type[StrictSerializer], request: HttpRequest | Request) -> dict[str, Any]:
    """The last of a name given twice counts, except where a list is due."""
    fields = kind().fields
    given = {
        name: values if isinstance(fields.get(name), serializers.ListField) else values[-1]
        for name, values in request.GET.lists()
    }
    return validated(kind, given)


def validated(kind: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """What ``kind`` makes of ``data``; raise ``InvalidFields`` or DRF's ``ValidationError``."""
    if hasattr(data, "dict"):  # an empty body: DRF hands out an empty QueryDict
        data = data.dict()
    if not isinstance(data, dict):
        raise InvalidFields([FieldError("body", f"An object was expected, not {type(data).__name__}.")])
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    result: dict[str, Any] = serializer.validated_data
    return result


class AsyncApiView(ApiView):
    """As ``ApiView``, with ``async def`` handlers: for whatever may take longer than a second."""

    async def dispatch(  # type: ignore[override]  # Django calls views with async handlers as coroutines
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        self.args = args
        self.kwargs = kwargs
        wrapped: Request = self.initialize_request(request, *args, **kwargs)
        self.request = wrapped
        self.headers = self.default_response_headers
        try:
            await sync_to_async(self.initial)(wrapped, *args, **kwargs)
            method = (wrapped.method or "").lower()
            handler = getattr(self, method, None) if method in self.http_method_names else None
            if handler is None:
                self.http_method_not_allowed(wrapped, *args, **kwargs)
            response: HttpResponseBase = await handler(wrapped, *args, **kwargs)  # type: ignore[misc]  # raised above if None
        except Exception as error:  # noqa: BLE001  # the exception handler answers, and logs what it does not know
            response = self.handle_exception(error)
        self.response = self.finalize_response(wrapped, cast(Response, response), *args, **kwargs)
        return self.response

    async def options(  # type: ignore[override]  # awaited by dispatch, like every handler here
        self, request: Request, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The header Allow; what a stream would say of itself has no renderer."""
        return HttpResponse(status=204)
