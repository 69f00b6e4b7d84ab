"""REST: a build context in parts, so that only what has changed is sent."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.policy import Action, require
from slipway.bodies import body_of
from slipway.builds.api import Bodies
from slipway.nodes import agent
from slipway.nodes.models import Node
from slipway.nodes.services import ensure_home
from slipway.projects import ledger
from slipway.projects.errors import QuotaExceeded
from slipway.projects.limits import limits_of
from slipway.projects.models import Project, Resource
from slipway.projects.queries import get_project_by_path
from slipway.views import AsyncApiView

BINARY = {"type": "string", "format": "binary"}


class ContextOut(serializers.Serializer):
    context = serializers.CharField(help_text="For `context` of a build.")  # type: ignore[assignment]  # DRF takes declared fields off the class
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="SHA-256 of the contents the node lacks; send them."
    )
    missing_bytes = serializers.IntegerField()
    entries = serializers.IntegerField()
    size = serializers.IntegerField(help_text="Bytes of all files.")


class TakenOut(serializers.Serializer):
    taken = serializers.IntegerField(help_text="How many contents were taken.")


class ContextView(AsyncApiView):
    parser_classes = [Bodies]

    def _prepare(self, team: str, project: str) -> tuple[Project, Node]:
        found = get_project_by_path(self.actor, team, project)
        require(self.actor, Action.WRITE, found)
        return found, ensure_home(found)


class Contexts(ContextView):
    @extend_schema(
        operation_id="propose_context",
        request={"application/x-ndjson": BINARY},
        responses=ContextOut,
        summary="Say what a build context holds; learn what of it is missing",
        description=(
            'An entry a line: `{"p": path, "t": "f", "m": mode, "s": size, "h": sha256, "d": mtime}`, '
            "with `t` `d` for a directory and `l` for a link, which has its target in `l`."
        ),
    )
    async def post(self, request: Request, team: str, project: str) -> Response:
        found, node = await sync_to_async(self._prepare)(team, project)
        answer = await agent.propose_context(node, found.hex, body_of(request._request).chunks())
        await sync_to_async(_require_room)(found, int(answer["size"]))
        return Response(answer)


class ContextContents(ContextView):
    @extend_schema(
        operation_id="fill_context",
        request={"application/octet-stream": BINARY},
        responses=TakenOut,
        summary="Send contents of a build context",
        description="`<sha256> <size>` on a line, then the bytes; again and again.",
    )
    async def post(self, request: Request, team: str, project: str, context: str) -> Response:
        found, node = await sync_to_async(self._prepare)(team, project)
        body = body_of(request._request)
        return Response({"taken": await agent.fill_context(node, found.hex, context, body.chunks())})


def _require_room(project: Project, size: int) -> None:
    """Before gigabytes flow for a build that would be refused. Raise ``QuotaExceeded``."""
    limit: Any = limits_of(project)[Resource.DISK]
    if limit is None:
        return
    used = ledger.used(project.pk).get(Resource.DISK.value, 0)
    if used + size > limit:
        raise QuotaExceeded(project.path, Resource.DISK, limit, used, size)
