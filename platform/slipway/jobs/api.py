"""REST: jobs of a project."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.errors import NotFound
from slipway.jobs import queries
from slipway.jobs.models import JobKind, JobState
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery


class CauseOut(serializers.Serializer):
    """Why something failed, as the node said it."""

    code = serializers.CharField()
    message = serializers.CharField()
    facts = serializers.DictField(default=dict)


class JobOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    project = serializers.CharField(source="project.path")
    kind = serializers.ChoiceField(choices=JobKind.choices)
    subject = serializers.CharField(help_text="What it is about: a reference, a recipe, an image id.")
    state = serializers.ChoiceField(choices=JobState.choices)
    detail = serializers.CharField(help_text="What it is doing now.")
    done = serializers.IntegerField(help_text="Bytes; 0 where unknown, as `total`.")
    total = serializers.IntegerField()
    cause = CauseOut(allow_null=True, help_text="Why it failed.")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class JobsQuery(PageQuery):
    active = serializers.BooleanField(
        required=False, default=False, help_text="Only queued and running ones."
    )


class Jobs(ApiView):
    @extend_schema(
        operation_id="list_jobs",
        responses=page_of(JobOut),
        parameters=[JobsQuery],
        summary="Jobs, newest first",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        asked = self.query(JobsQuery)
        found = get_project_by_path(self.actor, team, project)
        return self.page(asked, queries.list_jobs(self.actor, found, active=asked["active"]), JobOut)


class JobDetail(ApiView):
    @extend_schema(operation_id="get_job", responses=JobOut, summary="One job")
    def get(self, request: Request, team: str, project: str, job: str) -> Response:
        found = queries.get_job(self.actor, job)
        if found.project_id != get_project_by_path(self.actor, team, project).id:
            raise NotFound(f"There is no job {job[:60]!r} in {team}/{project}.")
        return Response(JobOut(found).data)
