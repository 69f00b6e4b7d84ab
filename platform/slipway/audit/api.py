"""REST: the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.models import Team
from slipway.accounts.queries import get_team
from slipway.audit.exports import TYPES, WRITERS
from slipway.audit.models import Entry
from slipway.audit.queries import Search, in_order, list_entries
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer

LINES_AT_ONCE = 500


class AuditEntryOut(serializers.Serializer):
    seq = serializers.IntegerField(help_text="Without a gap over the whole installation.")
    at = serializers.DateTimeField()
    actor = serializers.CharField(help_text="The user's name then, with the token's prefix if one was used.")
    action = serializers.CharField()
    object_kind = serializers.CharField()
    object_id = serializers.CharField()
    object_name = serializers.CharField()
    origin = serializers.CharField(help_text="Address the request came from.")
    user_agent = serializers.CharField()
    request_id = serializers.CharField(help_text="As in X-Request-Id.")
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)
    detail = serializers.DictField()
    previous = serializers.CharField(help_text="The digest of the entry before.")
    digest = serializers.CharField(help_text="Covers this entry and `previous`.")


AUDIT_PAGE = page_of(AuditEntryOut)


class AuditSearch(StrictSerializer):
    actor = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200, help_text="A user's name."
    )
    action = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=60,
        help_text="container.start, or container.* for all.",
    )
    object = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200, help_text="An id, or part of a name."
    )
    since = serializers.DateTimeField(required=False, default=None)
    until = serializers.DateTimeField(required=False, default=None)


class AuditQuery(PageQuery, AuditSearch):
    pass


class AuditExportQuery(AuditSearch):
    format = serializers.ChoiceField(choices=sorted(TYPES), required=False, default="ndjson")


def search_of(asked: dict[str, Any]) -> Search:
    return Search(asked["actor"], asked["action"], asked["object"], asked["since"], asked["until"])


class Entries(ApiView):
    @extend_schema(
        operation_id="list_audit",
        responses=AUDIT_PAGE,
        parameters=[AuditQuery],
        summary="The audit log, newest first: of the teams I manage; of all for administrators",
    )
    def get(self, request: Request) -> Response:
        return self.listed(None)

    def listed(self, team: Team | None) -> Response:
        asked = self.query(AuditQuery)
        return self.page(asked, list_entries(self.actor, team, search_of(asked)), AuditEntryOut, ["-seq"])


class TeamEntries(Entries):
    @extend_schema(
        operation_id="list_team_audit",
        responses=AUDIT_PAGE,
        parameters=[AuditQuery],
        summary="The audit log of a team, newest first",
    )
    def get(self, request: Request, team: str) -> Response:  # type: ignore[override]  # as the route has it
        return self.listed(get_team(self.actor, team))


EXPORT = OpenApiResponse(OpenApiTypes.STR, description="One entry a line, oldest first.")


class Export(ApiView):
    @extend_schema(
        operation_id="export_audit",
        parameters=[AuditExportQuery],
        responses={(200, "application/x-ndjson"): EXPORT, (200, "text/csv"): EXPORT},
        summary="The audit log as a file",
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        return self.exported(None)

    def exported(self, team: Team | None) -> StreamingHttpResponse:
        asked = self.query(AuditExportQuery)
        entries = in_order(list_entries(self.actor, team, search_of(asked)))
        return export_response(asked["format"], entries, team.slug if team else "all")


class TeamExport(Export):
    @extend_schema(
        operation_id="export_team_audit",
        parameters=[AuditExportQuery],
        responses={(200, "application/x-ndjson"): EXPORT, (200, "text/csv"): EXPORT},
        summary="The audit log of a team as a file",
    )
    def get(  # type: ignore[override]  # as the route has it
        self, request: Request, team: str
    ) -> StreamingHttpResponse:
        return self.exported(get_team(self.actor, team))


def export_response(kind: str, entries: Iterator[Entry], name: str) -> StreamingHttpResponse:
    """A download that is made while it is sent."""
    lines = WRITERS[kind](entries)
    return StreamingHttpResponse(
        _pieces(lines),
        content_type=TYPES[kind],
        headers={
            "Content-Disposition": f'attachment; filename="slipway-audit-{name}.{kind}"',
            "Cache-Control": "no-store",
        },
    )


async def _pieces(lines: Iterator[str]) -> AsyncIterator[str]:
    """Asynchronous, as the server wants its streams; the database is asked in a thread."""
    take = sync_to_async(lambda: "".join(islice(lines, LINES_AT_ONCE)))
    while piece := await take():
        yield piece
