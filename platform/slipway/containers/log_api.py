"""REST: a container's log."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from slipway.containers.api import CONTAINER, find
from slipway.containers.logs import container_log
from slipway.nodes.log_api import LOG_ANSWERS, POSITION, LogsQuery, LogView
from slipway.nodes.log_reading import Log


class Logs(LogView):
    def find(self) -> Log:
        return container_log(find(self))

    @extend_schema(
        operation_id="read_log",
        parameters=[CONTAINER, LogsQuery, POSITION],
        responses=LOG_ANSWERS,
        summary="Read or follow a container's log",
    )
    async def get(self, request: Request, **path: str) -> StreamingHttpResponse:
        return await self.answer(request)
