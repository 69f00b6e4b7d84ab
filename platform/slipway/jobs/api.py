"""REST: jobs of a project."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.errors import NotFound
from slipway.jobs import queries, services
from slipway.jobs.models import LAYER_STATES, Job, JobKind, JobState
from slipway.pagination import paginate
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer


class CauseOut(serializers.Serializer):
    """Why something failed, as the node said it."""

    code = serializers.CharField()
    message = serializers.CharField()
    facts = serializers.DictField(
        default=dict,
        help_text="What the message was made of. Of a mistake in a Dockerfile: `file`, `line`, `column`, the"
        " `text` of the line, a `marker` to print below it, and in `suggestion` what was probably meant.",
    )


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
    position = serializers.IntegerField(
        default=None,
        allow_null=True,
        help_text="In its node's queue, 1 for the next; null once begun.",
    )
    waits_for = serializers.CharField(help_text="quota, lock, slot or node while it is queued, else empty.")
    cancelling = serializers.SerializerMethodField(help_text="Its end was asked for.")
    lease_until = serializers.DateTimeField(
        allow_null=True, help_text="A running job is heard of again before, or its worker may be gone."
    )
    retry_of = serializers.CharField(source="retry_of.hex", default=None, allow_null=True)
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    def get_cancelling(self, job: Job) -> bool:
        return job.is_active and job.cancel_requested_at is not None


class LayerStateOut(serializers.Serializer):
    digest = serializers.CharField(help_text="Of the layer in a pull, its diffID in a push.")
    state = serializers.ChoiceField(choices=[(word, word) for word in LAYER_STATES])
    done = serializers.IntegerField(help_text="Bytes.")
    total = serializers.IntegerField(help_text="0 where unknown.")


class JobDetailOut(JobOut):
    layers = LayerStateOut(many=True, help_text="Of a pull or push, as far as it is; else empty.")


class JobsQuery(PageQuery):
    active = serializers.BooleanField(
        required=False, default=False, help_text="Only queued and running ones."
    )


JOB_PAGE = page_of(JobOut)
ORDER = ("-created_at", "-id")


class AllJobs(ApiView):
    @extend_schema(
        operation_id="list_all_jobs",
        responses=JOB_PAGE,
        parameters=[JobsQuery],
        summary="Jobs of all my projects, newest first",
    )
    def get(self, request: Request) -> Response:
        asked = self.query(JobsQuery)
        return listed(self, asked, queries.list_jobs(self.actor, active=asked["active"]))


class Jobs(ApiView):
    @extend_schema(
        operation_id="list_jobs",
        responses=JOB_PAGE,
        parameters=[JobsQuery],
        summary="Jobs, newest first",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        asked = self.query(JobsQuery)
        found = get_project_by_path(self.actor, team, project)
        return listed(self, asked, queries.list_jobs(self.actor, found, active=asked["active"]))


def listed(view: ApiView, asked: dict[str, Any], jobs: QuerySet[Job]) -> Response:
    page = paginate(view.request, jobs, ORDER, cursor=asked["cursor"], limit=asked["limit"])
    queries.place(page.items)
    return Response({"items": JobOut(page.items, many=True).data, "next": page.next})


def find(view: ApiView) -> Job:
    """The job the view's address names. Raise ``NotFound``."""
    team, project, job = (view.kwargs[name] for name in ("team", "project", "job"))
    found = queries.get_job(view.actor, job)
    if found.project_id != get_project_by_path(view.actor, team, project).id:
        raise NotFound(f"There is no job {job[:60]!r} in {team}/{project}.")
    return found


class OneJob(ApiView):
    """Base of the views below a job's address."""

    def found(self) -> Job:
        return find(self)

    def accepted(self, job: Job) -> Response:
        location = f"/api/v1/projects/{job.project.path}/jobs/{job.hex}"
        seen = queries.get_job(self.actor, job.hex)
        return Response(JobOut(seen).data, status=202, headers={"Location": location})


class JobDetail(OneJob):
    @extend_schema(operation_id="get_job", responses=JobDetailOut, summary="One job")
    def get(self, request: Request, **path: str) -> Response:
        return Response(JobDetailOut(self.found()).data)


class Cancel(OneJob):
    repeatable = True

    @extend_schema(
        operation_id="cancel_job",
        request=None,
        responses={202: JobOut},
        summary="Cancel a job",
        description="One that waits for quota ends at once, any other as soon as its node says so.",
    )
    def post(self, request: Request, **path: str) -> Response:
        self.body(StrictSerializer)
        return self.accepted(services.cancel(self.actor, self.found()))


class Retry(OneJob):
    repeatable = True

    @extend_schema(
        operation_id="retry_job",
        request=None,
        responses={202: JobOut},
        summary="Do a failed or cancelled job again, as a new one",
    )
    def post(self, request: Request, **path: str) -> Response:
        self.body(StrictSerializer)
        return self.accepted(services.retry(self.actor, self.found()))
