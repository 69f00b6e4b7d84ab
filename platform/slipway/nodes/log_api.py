"""REST: a log on a node, as text or as NDJSON with positions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from slipway.nodes.log_reading import (
    FIRST_SECONDS,
    Log,
    LogAnswer,
    LogRequest,
    Render,
    read_log,
    render_ndjson,
    render_stamped_text,
    render_text,
)
from slipway.views import AsyncApiView, StrictSerializer

TAIL_MAX = 1_000_000


class Streamed(BaseRenderer):
    """Takes part in the choice of a format; the view writes the bytes itself."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        raise AssertionError("streamed")


class PlainText(Streamed):
    media_type = "text/plain"
    format = "text"


class Ndjson(Streamed):
    media_type = "application/x-ndjson"
    format = "ndjson"


class LogsQuery(StrictSerializer):
    follow = serializers.BooleanField(required=False, default=False, help_text="Go on until it has ended.")
    tail = serializers.IntegerField(
        required=False,
        default=None,
        min_value=0,
        max_value=TAIL_MAX,
        help_text="Only the last so many lines.",
    )
    position = serializers.IntegerField(
        required=False,
        default=None,
        min_value=0,
        max_value=1 << 62,
        help_text="Resume here: `next` of the last entry one has.",
    )
    timestamps = serializers.BooleanField(
        required=False, default=False, help_text="In plain text: before lines."
    )
    stream = serializers.ChoiceField(choices=["stdout", "stderr"], required=False, default=None)
    format = serializers.ChoiceField(
        choices=["text", "ndjson"], required=False, default=None, help_text="In place of the Accept header."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["tail"] is not None and attrs["position"] is not None:
            raise serializers.ValidationError({"tail": ["Give tail or position, not both."]})
        return attrs


class LogEntryOut(serializers.Serializer):
    position = serializers.IntegerField(help_text="Of this line in the whole log; never changes.")
    next = serializers.IntegerField(help_text="Where to resume after this entry.")
    time = serializers.DateTimeField()
    stream = serializers.CharField(help_text="stdout or stderr; of a build after its step, as `3:stderr`.")
    text = serializers.CharField()
    whole = serializers.BooleanField(help_text="False if the line goes on in the next entry of its stream.")


POSITION = OpenApiParameter(
    "X-Log-Position",
    int,
    OpenApiParameter.HEADER,
    response=[200],
    description="Position of the first entry, as far as it is known when the headers leave.",
)


LOG_ANSWERS = {
    (200, "text/plain"): OpenApiResponse(str, description="The lines."),
    (200, "application/x-ndjson"): OpenApiResponse(LogEntryOut, description="One entry a line."),
}


class LogView(AsyncApiView):
    """Base of the views that answer a log: they name their path's parameters and ``find`` it."""

    renderer_classes = [PlainText, Ndjson]
    query_kind: type[LogsQuery] = LogsQuery

    def find(self) -> Log:
        """May ask the database. Raise ``NotFound``."""
        raise NotImplementedError

    async def answer(self, request: Request) -> StreamingHttpResponse:
        asked = self.query(self.query_kind)
        log = await sync_to_async(self.find)()
        wanted = LogRequest(
            asked["position"], asked["tail"], asked["follow"], asked["stream"], asked.get("step")
        )
        answer = LogAnswer(read_log(log, wanted), self._render(request, asked))
        try:
            await answer.begin(FIRST_SECONDS if wanted.follow else None)
        except BaseException:
            await answer.stop()
            raise
        first = answer.first if answer.first is not None else wanted.position
        headers = {"X-Log-Position": str(first)} if first is not None else {}
        return StreamingHttpResponse(
            _until_gone(answer),
            content_type=f"{_renderer(request).media_type}; charset=utf-8",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers},
        )

    def _render(self, request: Request, asked: dict[str, Any]) -> Render:
        if _renderer(request).format == "ndjson":
            return render_ndjson
        return render_stamped_text if asked["timestamps"] else render_text


def _renderer(request: Request) -> Any:
    return request.accepted_renderer


async def _until_gone(answer: LogAnswer) -> AsyncIterator[bytes]:
    """Closing this, as the server does when the client leaves, stops the reading at once."""
    async with aclosing(answer.pieces()) as pieces:  # type: ignore[type-var]  # an async generator in fact
        async for piece in pieces:
            yield piece
