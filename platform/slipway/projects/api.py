"""REST: projects."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway import deletion
from slipway.accounts.queries import get_team
from slipway.projects import queries, services
from slipway.projects.models import Project
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer


class ContainerMaximaOut(serializers.Serializer):
    """The most one container of the project may ask for."""

    memory_bytes = serializers.IntegerField(source="memory_bytes_max")
    cpu_millis = serializers.IntegerField(source="cpu_millis_max")
    pids = serializers.IntegerField(source="pids_max")


class ProjectOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    team = serializers.CharField(source="team.slug")
    slug = serializers.CharField()
    path = serializers.CharField(help_text="team/project, as it stands in addresses.")
    name = serializers.CharField()
    library = serializers.BooleanField(help_text="Its images are offered to every project.")
    node = serializers.CharField(source="node.name", default=None, allow_null=True)
    subnet = serializers.CharField()
    maxima = ContainerMaximaOut(source="*")
    created_at = serializers.DateTimeField()


class ProjectIn(StrictSerializer):
    team = serializers.CharField(max_length=60)
    slug = serializers.CharField(max_length=60, help_text="2 to 30 lower-case letters, digits, hyphens.")
    name = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)


class ConfirmQuery(StrictSerializer):
    confirm = serializers.CharField(max_length=120, help_text="team/project, to be sure.")


class LossesOut(serializers.Serializer):
    containers = serializers.IntegerField()
    images = serializers.IntegerField()
    active_jobs = serializers.IntegerField()
    image_bytes = serializers.IntegerField()
    past_containers = serializers.IntegerField(help_text="Removed ones, whose logs can still be read.")
    tokens = serializers.IntegerField()
    repositories = serializers.IntegerField(help_text="With all images pushed to them.")


class ProjectsQuery(PageQuery):
    team = serializers.CharField(required=False, default=None, help_text="Only this team's.")


class Projects(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="list_projects",
        responses=page_of(ProjectOut),
        parameters=[ProjectsQuery],
        summary="Projects of my teams",
    )
    def get(self, request: Request) -> Response:
        asked = self.query(ProjectsQuery)
        team = get_team(self.actor, asked["team"]) if asked["team"] else None
        found: QuerySet[Project] = queries.list_projects(self.actor, team)
        return self.page(asked, found, ProjectOut, ["team__slug", "slug"])

    @extend_schema(
        operation_id="create_project",
        request=ProjectIn,
        responses={201: ProjectOut},
        summary="Create a project",
    )
    def post(self, request: Request) -> Response:
        asked = self.body(ProjectIn)
        team = get_team(self.actor, asked["team"])
        project = services.create_project(self.actor, team, asked["slug"], asked["name"])
        answer = ProjectOut(project).data
        return Response(answer, status=201, headers={"Location": f"/api/v1/projects/{project.path}"})


class ProjectDetail(ApiView):
    @extend_schema(operation_id="get_project", responses=ProjectOut, summary="One project")
    def get(self, request: Request, team: str, project: str) -> Response:
        return Response(ProjectOut(queries.get_project_by_path(self.actor, team, project)).data)

    @extend_schema(
        operation_id="delete_project",
        request=None,
        parameters=[ConfirmQuery],
        responses={204: OpenApiResponse(description="It is gone.")},
        summary="Delete a project that holds nothing on a node any more",
    )
    def delete(self, request: Request, team: str, project: str) -> Response:
        found = queries.get_project_by_path(self.actor, team, project)
        deletion.delete_project(self.actor, found, self.query(ConfirmQuery)["confirm"])
        return Response(status=204)


class Clear(ApiView):
    @extend_schema(
        operation_id="list_losses", responses=LossesOut, summary="What a deletion would take along"
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        found = queries.get_project_by_path(self.actor, team, project)
        return Response(LossesOut(deletion.list_losses(self.actor, found)).data)

    @extend_schema(
        operation_id="clear_project",
        request=None,
        responses={202: LossesOut},
        summary="Remove all containers, and images that none is made from",
    )
    def post(self, request: Request, team: str, project: str) -> Response:
        found = queries.get_project_by_path(self.actor, team, project)
        return Response(LossesOut(deletion.clear_project(self.actor, found)).data, status=202)
