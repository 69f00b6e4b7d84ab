"""REST: what a job wrote."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from slipway.jobs.api import find
from slipway.jobs.logs import job_log
from slipway.nodes.log_api import LOG_ANSWERS, POSITION, LogsQuery, LogView
from slipway.nodes.log_reading import Log


class JobLogs(LogView):
    def find(self) -> Log:
        return job_log(find(self))

    @extend_schema(
        operation_id="read_job_log",
        parameters=[LogsQuery, POSITION],
        responses=LOG_ANSWERS,
        summary="Read or follow what a job writes",
    )
    async def get(self, request: Request, **path: str) -> StreamingHttpResponse:
        return await self.answer(request)
