"""REST: what a project uses, its limits, and requests for more."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.queries import get_team
from slipway.projects import quotas
from slipway.projects.models import Project, RequestState, Resource
from slipway.projects.queries import get_project_by_path
from slipway.projects.usage import usage
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer


class UseOut(serializers.Serializer):
    resource = serializers.ChoiceField(choices=Resource.choices)
    used = serializers.IntegerField(help_text="In use or reserved; bytes, thousandths of a core, or a count.")
    limit = serializers.IntegerField(allow_null=True, help_text="null: there is none.")
    free = serializers.IntegerField(allow_null=True)


class UsageOut(serializers.Serializer):
    project = serializers.CharField()
    resources = UseOut(many=True)


class LimitIn(StrictSerializer):
    resource = serializers.ChoiceField(choices=Resource.choices)
    amount = serializers.IntegerField(
        min_value=0, max_value=quotas.AMOUNT_MAX, allow_null=True, help_text="null: as the default is."
    )


class QuotaRequestOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    project = serializers.CharField(source="project.path")
    resource = serializers.ChoiceField(choices=Resource.choices)
    amount = serializers.IntegerField(help_text="The limit asked for.")
    reason = serializers.CharField()
    state = serializers.ChoiceField(choices=RequestState.choices)
    requested_by = serializers.CharField(source="requested_by_name")
    created_at = serializers.DateTimeField()
    decided_by = serializers.CharField(source="decided_by_name")
    decided_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField(help_text="What the administrator says to it.")


class QuotaRequestIn(StrictSerializer):
    resource = serializers.ChoiceField(choices=Resource.choices)
    amount = serializers.IntegerField(
        min_value=1, max_value=quotas.AMOUNT_MAX, help_text="The limit you need, not the difference."
    )
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)


class DecisionIn(StrictSerializer):
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)


QUOTA_REQUEST_PAGE = page_of(QuotaRequestOut)


def _usage(project: Project) -> Response:
    return Response(UsageOut({"project": project.path, "resources": usage(project)}).data)


class Usage(ApiView):
    @extend_schema(operation_id="get_usage", responses=UsageOut, summary="What a project uses and may use")
    def get(self, request: Request, team: str, project: str) -> Response:
        return _usage(get_project_by_path(self.actor, team, project))


class ProjectLimits(ApiView):
    @extend_schema(
        operation_id="set_project_limit", request=LimitIn, responses=UsageOut, summary="Set a project's limit"
    )
    def put(self, request: Request, team: str, project: str) -> Response:
        asked = self.body(LimitIn)
        found = get_project_by_path(self.actor, team, project)
        quotas.set_limit(self.actor, found, Resource(asked["resource"]), asked["amount"])
        return _usage(found)


class TeamLimits(ApiView):
    @extend_schema(
        operation_id="set_team_limit",
        request=LimitIn,
        responses=LimitIn,
        summary="Set the limit of a team's projects",
        description="Of each of them, where it has none of its own.",
    )
    def put(self, request: Request, team: str) -> Response:
        asked = self.body(LimitIn)
        quotas.set_limit(self.actor, get_team(self.actor, team), Resource(asked["resource"]), asked["amount"])
        return Response(LimitIn(asked).data)


class ProjectRequests(ApiView):
    @extend_schema(
        operation_id="list_project_quota_requests",
        responses=QUOTA_REQUEST_PAGE,
        parameters=[PageQuery],
        summary="Requests for higher limits of a project, newest first",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        found = get_project_by_path(self.actor, team, project)
        return self.page(self.query(PageQuery), quotas.list_requests(self.actor, found), QuotaRequestOut)

    @extend_schema(
        operation_id="request_quota",
        request=QuotaRequestIn,
        responses={201: QuotaRequestOut},
        summary="Ask for a higher limit",
    )
    def post(self, request: Request, team: str, project: str) -> Response:
        asked = self.body(QuotaRequestIn)
        found = get_project_by_path(self.actor, team, project)
        made = quotas.ask(self.actor, found, Resource(asked["resource"]), asked["amount"], asked["reason"])
        location = f"/api/v1/quota-requests/{made.hex}"
        return Response(QuotaRequestOut(made).data, status=201, headers={"Location": location})


class Requests(ApiView):
    @extend_schema(
        operation_id="list_quota_requests",
        responses=QUOTA_REQUEST_PAGE,
        parameters=[PageQuery],
        summary="Requests for higher limits, newest first",
    )
    def get(self, request: Request) -> Response:
        return self.page(self.query(PageQuery), quotas.list_requests(self.actor), QuotaRequestOut)


class RequestDetail(ApiView):
    @extend_schema(operation_id="get_quota_request", responses=QuotaRequestOut, summary="One request")
    def get(self, request: Request, quota_request: str) -> Response:
        return Response(QuotaRequestOut(quotas.get_request(self.actor, quota_request)).data)


class Approve(ApiView):
    @extend_schema(
        operation_id="approve_quota_request",
        request=DecisionIn,
        responses=QuotaRequestOut,
        summary="Approve a request: the limit is set",
    )
    def post(self, request: Request, quota_request: str) -> Response:
        return decided(self, quota_request, approve=True)


class Decline(ApiView):
    @extend_schema(
        operation_id="decline_quota_request",
        request=DecisionIn,
        responses=QuotaRequestOut,
        summary="Decline a request",
    )
    def post(self, request: Request, quota_request: str) -> Response:
        return decided(self, quota_request, approve=False)


def decided(view: ApiView, request_id: str, *, approve: bool) -> Response:
    found = quotas.get_request(view.actor, request_id)
    row = quotas.decide(view.actor, found, approve=approve, note=view.body(DecisionIn)["note"])
    return Response(QuotaRequestOut(row).data)
