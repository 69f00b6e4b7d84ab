"""REST: what a build's steps wrote."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from slipway.builds.api import find
from slipway.builds.logs import build_log
from slipway.nodes.log_api import LOG_ANSWERS, POSITION, LogsQuery, LogView
from slipway.nodes.log_reading import Log


class BuildLogsQuery(LogsQuery):
    step = serializers.IntegerField(
        required=False,
        default=None,
        min_value=0,
        max_value=1 << 31,
        help_text="Only of the step with this id.",
    )


class BuildLogs(LogView):
    query_kind = BuildLogsQuery

    def find(self) -> Log:
        return build_log(find(self))

    @extend_schema(
        operation_id="read_build_log",
        parameters=[BuildLogsQuery, POSITION],
        responses=LOG_ANSWERS,
        summary="Read or follow what a build writes",
    )
    async def get(self, request: Request, **path: str) -> StreamingHttpResponse:
        return await self.answer(request)
