"""REST: nodes, for administrators."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.nodes import agent, queries
from slipway.nodes.models import Node
from slipway.schema import page_of
from slipway.threads import look
from slipway.views import ApiView, AsyncApiView, PageQuery


class NodeOut(serializers.Serializer):
    name = serializers.CharField()
    live = serializers.SerializerMethodField(help_text="Its agent was heard of within the last 20 s.")
    heartbeat_at = serializers.DateTimeField(allow_null=True)
    applied_seq = serializers.IntegerField(help_text="Number of its last event that is in the rows.")
    facts = serializers.DictField(help_text="The last heartbeat: version, boot id, runtime, counts.")
    created_at = serializers.DateTimeField()

    def get_live(self, node: Node) -> bool:
        return node.is_live()


class Nodes(ApiView):
    @extend_schema(
        operation_id="list_nodes",
        responses=page_of(NodeOut),
        parameters=[PageQuery],
        summary="Nodes; empty for non-administrators",
    )
    def get(self, request: Request) -> Response:
        return self.page(self.query(PageQuery), queries.list_nodes(self.actor), NodeOut, ["name"])


class NodeDetail(ApiView):
    @extend_schema(operation_id="get_node", responses=NodeOut, summary="One node")
    def get(self, request: Request, node: str) -> Response:
        return Response(NodeOut(queries.get_node(self.actor, node)).data)


class CheckOut(serializers.Serializer):
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=["ok", "degraded", "missing"])
    why = serializers.CharField(help_text="What was seen.")
    fix = serializers.CharField(help_text="What to do about it; empty when ok.")


class NodeChecks(AsyncApiView):
    @extend_schema(
        operation_id="check_node",
        responses=CheckOut(many=True),
        summary="What a node offers, looked at now: kernel, runtimes, network, disk",
    )
    async def get(self, request: Request, node: str) -> Response:
        found = await look(queries.get_node, self.actor, node)
        return Response(CheckOut(await agent.doctor(found), many=True).data)
