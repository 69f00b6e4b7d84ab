"""REST: builds of a project."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.bodies import body_of
from slipway.builds import queries, services
from slipway.builds.bodies import (
    BuildBody,
    BuildForm,
    accounts_field,
    accounts_of,
    marks,
    read_request,
    request_of,
    secrets_of,
    source_of,
)
from slipway.builds.errors import ContextGone
from slipway.builds.models import Build, BuildState, SourceKind, StepState
from slipway.builds.requests import BuildRequest
from slipway.catalog.uploads import hand_over
from slipway.jobs.api import CauseOut, JobOut
from slipway.jobs.idempotency import HEADER, Answer, fingerprint, once, parse_key
from slipway.nodes import agent
from slipway.nodes.models import Node
from slipway.nodes.services import ensure_home
from slipway.pagination import paginate
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, AsyncApiView, PageQuery, StrictSerializer, answered
from workers.errors import NoSuchBlob
from workers.messages import BuildSource

BINARY = {"type": "string", "format": "binary"}


class StepOut(serializers.Serializer):
    id = serializers.IntegerField(source="number", help_text="Lines of the log carry it.")
    stage = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(choices=StepState.choices)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    reason = serializers.CharField(help_text="Why it missed the cache, or failed.")
    progress = serializers.CharField()


class BuildOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    number = serializers.IntegerField(help_text="Counts the project's builds.")
    project = serializers.CharField(source="project.path")
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=BuildState.choices)
    cancelling = serializers.SerializerMethodField(help_text="Its end was asked for.")
    position = serializers.IntegerField(
        source="job.position", default=None, allow_null=True, help_text="In its node's queue, 1 for the next."
    )
    waits_for = serializers.CharField(
        source="job.waits_for", help_text="quota, lock, slot or node while it is queued, else empty."
    )
    attempt = serializers.IntegerField(source="job.attempt", help_text="Above 1 after its worker was lost.")
    job = serializers.CharField(source="job.hex")
    source = serializers.DictField(help_text="kind, and what it was.")  # type: ignore[assignment]  # DRF takes declared fields off the class
    dockerfile = serializers.CharField(source="options.dockerfile")
    target = serializers.CharField(source="options.target", allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    platform = serializers.CharField(source="options.platform", allow_null=True)
    group = serializers.CharField()
    retry_of = serializers.IntegerField(source="retry_of.number", default=None, allow_null=True)
    created_by = serializers.CharField(source="job.created_by_name")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(source="job.started_at", allow_null=True)
    ended_at = serializers.DateTimeField(source="job.ended_at", allow_null=True)
    cause = CauseOut(source="job.cause", allow_null=True, help_text="Why it failed.")
    image = serializers.CharField(source="image_id", help_text="The id of the image it made.")
    digest = serializers.CharField(source="manifest_digest")

    def get_cancelling(self, build: Build) -> bool:
        return build.is_active and build.job.cancel_requested_at is not None

    def to_representation(self, build: Build) -> Any:
        build.source = {"kind": build.source_kind, **build.source}
        return super().to_representation(build)


class BuildDetailOut(BuildOut):
    steps = StepOut(many=True)
    steps_total = serializers.IntegerField(
        help_text="How many there are; of more than 2,000 the first are kept, and those that failed."
    )
    options = serializers.DictField(help_text="As asked for, without secrets.")
    secrets = serializers.ListField(
        source="secret_ids", child=serializers.CharField(), help_text="Their ids."
    )
    credentials = serializers.ListField(
        child=serializers.CharField(),
        help_text="What had a password of its own: `password`, `contexts.<name>`, `registries.<host>`.",
    )
    notes = serializers.ListField(
        child=serializers.CharField(), help_text="What was asked for and does nothing here."
    )
    warnings = serializers.ListField(child=serializers.CharField(), help_text="Of the Dockerfile's checks.")
    provenance = serializers.CharField(help_text="SLSA provenance as JSON, or empty.")
    may_retry = serializers.SerializerMethodField(help_text="Whether all it was made of is still there.")

    def get_may_retry(self, build: Build) -> bool:
        return services.may_retry(build)


class BuildsQuery(PageQuery):
    state = serializers.ChoiceField(choices=BuildState.choices, required=False, default=None)
    group = serializers.CharField(required=False, default=None)


class RetryBody(StrictSerializer):
    no_cache = serializers.BooleanField(required=False, default=False, help_text="Do every step anew.")
    secrets = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False),
        required=False,
        default=dict,
        help_text="Those the build used; they were dropped when it ended.",
    )
    ssh = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False),
        required=False,
        default=dict,
        help_text="The keys it used, as well.",
    )
    password = serializers.CharField(
        required=False, default=None, trim_whitespace=False, help_text="For the repository."
    )
    contexts = serializers.DictField(
        child=serializers.CharField(),
        required=False,
        default=dict,
        help_text="Addresses, with what opens them, of the named contexts that `credentials` tells of.",
    )
    registries = accounts_field("The accounts it brought, by host.")
    dockerfile_text = serializers.CharField(
        required=False, default=None, trim_whitespace=False, help_text="In place of the Dockerfile."
    )


class Bodies(BaseParser):
    """Bodies of builds are read by ``builds.bodies``, not by DRF."""

    media_type = "*/*"


class Builds(AsyncApiView):
    parser_classes = [Bodies]

    @extend_schema(
        operation_id="list_builds",
        responses=page_of(BuildOut),
        parameters=[BuildsQuery],
        summary="Builds, newest first",
    )
    async def get(self, request: Request, team: str, project: str) -> Response:
        return await sync_to_async(self._list)(team, project)

    def _list(self, team: str, project: str) -> Response:
        found = get_project_by_path(self.actor, team, project)
        asked = self.query(BuildsQuery)
        rows = queries.list_builds(self.actor, found, state=asked["state"], group=asked["group"])
        order = ("-created_at", "-id")
        page = paginate(self.request, rows, order, cursor=asked["cursor"], limit=asked["limit"])
        queries.place(page.items)
        return Response({"items": BuildOut(page.items, many=True).data, "next": page.next})

    @extend_schema(
        operation_id="create_build",
        request={
            "application/json": BuildBody,
            "application/x-tar": BINARY,
            "application/zip": BINARY,
            "multipart/form-data": BuildForm,
        },
        responses={202: OpenApiResponse(BuildOut, description="The build, queued.")},
        summary="Build an image",
        description=(
            "JSON builds a git repository, a context sent before, or a Dockerfile alone. An archive as the "
            "body is the context, with the options in the address; a form has the JSON as `options`, then "
            "the archive as `context`."
        ),
    )
    async def post(self, request: Request, team: str, project: str) -> Response:
        found, node = await sync_to_async(self._prepare)(team, project)
        query = dict(request.GET.lists())
        asked, archive = await read_request(body_of(request._request), query)
        # What can be refused without the context is refused before a byte of it flows.
        if archive is None and asked["context"] is None:
            wanted = request_of(asked, source_of(asked)).checked()
            return await sync_to_async(self._queue_once)(found, wanted, asked, False)
        request_of(asked, BuildSource()).require_sound()
        if archive is not None:
            upload = await hand_over(archive, node)
        else:
            upload = await agent.assemble_context(node, found.hex, asked["context"])
        wanted = request_of(asked, BuildSource(kind="upload", upload=upload.digest), size=upload.size)
        return await self._queue_upload(found, node, wanted, asked)

    async def _queue_upload(
        self, project: Project, node: Node, wanted: BuildRequest, asked: dict[str, Any]
    ) -> Response:
        """The upload is the build's then; one that nobody wants goes at once."""
        is_wanted = False
        try:
            answer = await sync_to_async(self._queue_once)(project, wanted, asked, True)
            is_wanted = "Idempotency-Replayed" not in answer.headers
        finally:
            if not is_wanted:
                await agent.drop_upload(node, wanted.source.upload or "")
        await drop_surplus(project, node)
        return answer

    def _prepare(self, team: str, project: str) -> tuple[Project, Node]:
        found = get_project_by_path(self.actor, team, project)
        require(self.actor, Action.WRITE, found)
        return found, ensure_home(found)

    def _queue_once(
        self, project: Project, wanted: BuildRequest, asked: dict[str, Any], kept: bool
    ) -> Response:
        """With an ``Idempotency-Key`` the same request sent again is built once."""

        def act() -> Answer:
            build = services.create_build(self.actor, project, wanted, context_kept=kept)
            return accepted(self, build)

        request = self.request
        if HEADER not in request.headers:
            return answered(act())
        parts = (request.get_full_path(), wanted.source.upload or "", marks(asked))
        mark = fingerprint(b"POST", *(part.encode() for part in parts))
        return answered(once(self.actor, parse_key(request.headers[HEADER]), mark, act))


async def drop_surplus(project: Project, node: Node) -> None:
    """Contexts of older builds go when newer ones are kept."""
    surplus = await sync_to_async(services.surplus)(project)
    for build in surplus:
        await agent.drop_upload(node, build.source["upload"])
    await sync_to_async(services.let_go)(surplus)


def accepted(view: ApiView, build: Build) -> Answer:
    seen = queries.get_build(view.actor, build.project, str(build.number))
    location = f"/api/v1/projects/{build.project.path}/builds/{build.number}"
    return Answer(202, BuildOut(seen).data, location)


def find(view: ApiView) -> Build:
    """The build the view's address names. Raise ``NotFound``."""
    team, project, build = (view.kwargs[name] for name in ("team", "project", "build"))
    return queries.get_build(view.actor, get_project_by_path(view.actor, team, project), build)


class BuildDetail(ApiView):
    @extend_schema(operation_id="get_build", responses=BuildDetailOut, summary="One build, step by step")
    def get(self, request: Request, **path: str) -> Response:
        return Response(BuildDetailOut(find(self)).data)


class Cancel(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="cancel_build", request=None, responses={202: BuildOut}, summary="Cancel a build"
    )
    def post(self, request: Request, **path: str) -> Response:
        self.body(StrictSerializer)
        return answered(accepted(self, services.cancel(self.actor, find(self))))


class Prune(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="prune_build_cache",
        request=None,
        responses={202: OpenApiResponse(JobOut, description="The job that does it.")},
        summary="Forget what is kept for the next builds",
        description="The next build of each step does it anew. Images stay as they are.",
    )
    def post(self, request: Request, team: str, project: str) -> Response:
        self.body(StrictSerializer)
        job = services.prune(self.actor, get_project_by_path(self.actor, team, project))
        location = f"/api/v1/projects/{job.project.path}/jobs/{job.hex}"
        return Response(JobOut(job).data, status=202, headers={"Location": location})


class Retry(AsyncApiView):
    @extend_schema(
        operation_id="retry_build",
        request=RetryBody,
        responses={202: BuildOut},
        summary="Build the same once more, as a new build",
    )
    async def post(self, request: Request, **path: str) -> Response:
        asked = await sync_to_async(self.body)(RetryBody)
        asked["secrets"] = secrets_of({"secrets": asked["secrets"], "ssh": asked.pop("ssh")})
        asked["registries"] = accounts_of(asked["registries"])
        build = await sync_to_async(find)(self)
        made = await retry(self.actor, build, **asked)
        return answered(await sync_to_async(accepted)(self, made))


async def retry(actor: Actor, build: Build, **asked: Any) -> Build:
    """``services.retry``, once it is sure that the uploaded context is still there."""
    await sync_to_async(services.check_retry)(actor, build, **asked)
    if build.source_kind == SourceKind.UPLOAD:
        await _require_upload(build)
    return await sync_to_async(services.retry)(actor, build, **asked)


async def _require_upload(build: Build) -> None:
    """Raise ``ContextGone``."""
    node, upload = build.job.node, build.source["upload"]
    try:
        await agent.keep_upload(node, upload)
    except NoSuchBlob as error:
        await sync_to_async(services.let_go)([build])
        raise ContextGone("What was uploaded for this build is no longer kept; upload it again.") from error
    await agent.drop_upload(node, upload)
