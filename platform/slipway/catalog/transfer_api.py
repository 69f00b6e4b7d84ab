"""REST: images to and from registries, their names, and archives of them."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.catalog import queries
from slipway.catalog.api import BINARY, ImageOut, sized
from slipway.catalog.models import Image
from slipway.catalog.pulls import pull_image
from slipway.catalog.pushes import COMPRESSIONS, push_image
from slipway.catalog.saving import FORMATS, Saving, open_saving
from slipway.catalog.sizes import disk_use
from slipway.catalog.tagging import tag_image, untag_image
from slipway.jobs.api import JobOut
from slipway.jobs.models import Job
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from slipway.views import ApiView, AsyncApiView, StrictSerializer


class PullIn(StrictSerializer):
    reference = serializers.CharField(
        max_length=400, help_text="busybox, example.org/team/web:1, or name@sha256:…"
    )
    platform = serializers.CharField(
        required=False, default=None, allow_null=True, help_text="linux/arm64; else the node's."
    )
    refresh = serializers.BooleanField(
        required=False, default=False, help_text="Ask the registry even if it was asked a moment ago."
    )


class PushIn(StrictSerializer):
    reference = serializers.CharField(
        required=False,
        default=None,
        max_length=400,
        help_text="Where to, else the name in the address. A bare web:1 is the project's own repository.",
    )
    compression = serializers.ChoiceField(
        choices=[(word, word) for word in COMPRESSIONS],
        required=False,
        default="gzip",
        help_text="Of layers that never left the node so.",
    )


class TagIn(StrictSerializer):
    reference = serializers.CharField(max_length=400, help_text="name:tag; it moves if it is another's.")


class UntagIn(StrictSerializer):
    reference = serializers.CharField(
        required=False, default=None, max_length=400, help_text="Which of its names, else the address's own."
    )


class ArchiveQuery(StrictSerializer):
    format = serializers.ChoiceField(
        choices=[(word, word) for word in FORMATS],
        required=False,
        default="docker",
        help_text="As `docker save` writes it, or an OCI layout.",
    )
    name = serializers.ListField(
        child=serializers.CharField(max_length=400),
        required=False,
        default=list,
        max_length=100,
        help_text="Names in the archive, else those of the list.",
    )


class DiskOut(serializers.Serializer):
    """Bytes are of layers, unpacked."""

    images = serializers.IntegerField()
    size = serializers.IntegerField(help_text="Each image counted by itself.")
    disk = serializers.IntegerField(help_text="Each layer counted once: what they take in fact.")
    library = serializers.IntegerField(help_text="Of `disk`, what the library holds as well.")
    unused_images = serializers.IntegerField(help_text="No container is made from them.")
    reclaimable = serializers.IntegerField(help_text="What removing the unused ones would free.")


def accepted(job: Job) -> Response:
    location = f"/api/v1/projects/{job.project.path}/jobs/{job.hex}"
    return Response(JobOut(job).data, status=202, headers={"Location": location})


class OfProject(ApiView):
    """Base of the views below a project."""

    def project(self) -> Project:
        return get_project_by_path(self.actor, self.kwargs["team"], self.kwargs["project"])

    def image(self, project: Project) -> Image:
        return queries.resolve(self.actor, project, self.kwargs["image"])


class Pull(OfProject):
    repeatable = True

    @extend_schema(
        operation_id="pull_image",
        request=PullIn,
        responses={202: OpenApiResponse(JobOut, description="The job that fetches it.")},
        summary="Pull an image from a registry",
        description="`layers` of the job tell how far each layer is.",
    )
    def post(self, request: Request, **path: str) -> Response:
        asked = self.body(PullIn)
        job = pull_image(
            self.actor,
            self.project(),
            asked["reference"],
            platform=asked["platform"],
            refresh=asked["refresh"],
        )
        return accepted(job)


class Push(OfProject):
    repeatable = True

    @extend_schema(
        operation_id="push_image",
        request=PushIn,
        responses={202: OpenApiResponse(JobOut, description="The job that sends it.")},
        summary="Push an image to a registry",
    )
    def post(self, request: Request, **path: str) -> Response:
        asked = self.body(PushIn)
        project = self.project()
        target = asked["reference"] or self.kwargs["image"]
        image = self.image(project)
        return accepted(push_image(self.actor, project, image, target, compression=asked["compression"]))


class Tag(OfProject):
    @extend_schema(
        operation_id="tag_image", request=TagIn, responses=ImageOut, summary="Give an image a name"
    )
    def post(self, request: Request, **path: str) -> Response:
        asked = self.body(TagIn)
        project = self.project()
        image = self.image(project)
        tag_image(self.actor, project, image, asked["reference"])
        return Response(sized([queries.get_image(self.actor, image.hex)])[0])


class Untag(OfProject):
    @extend_schema(
        operation_id="untag_image",
        request=UntagIn,
        responses=ImageOut,
        summary="Take a name away",
        description="The image stays, under its id if it has no other name.",
    )
    def post(self, request: Request, **path: str) -> Response:
        asked = self.body(UntagIn)
        project = self.project()
        name = asked["reference"] or self.kwargs["image"]
        image = untag_image(self.actor, project, name, self.image(project) if asked["reference"] else None)
        return Response(sized([queries.get_image(self.actor, image.hex)])[0])


class Disk(OfProject):
    @extend_schema(operation_id="get_disk_use", responses=DiskOut, summary="What a project's images take")
    def get(self, request: Request, **path: str) -> Response:
        return Response(DiskOut(disk_use(self.actor, self.project())).data)


class DockerTar(BaseRenderer):
    """Takes part in the choice of a format; the view passes the bytes on."""

    media_type = "application/x-tar"
    format = "docker"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        raise AssertionError("streamed")


class OciTar(DockerTar):
    format = "oci"


class ImageArchive(AsyncApiView):
    renderer_classes = [DockerTar, OciTar]

    @extend_schema(
        operation_id="save_image",
        parameters=[ArchiveQuery],
        responses={(200, "application/x-tar"): BINARY},
        summary="Save an image as an archive",
        description="It comes from the node as it is written there; nothing is kept on the way.",
    )
    async def get(self, request: Request, **path: str) -> StreamingHttpResponse:
        asked = self.query(ArchiveQuery)
        saving = await sync_to_async(self._find)(asked)
        pieces = await open_saving(saving)
        return StreamingHttpResponse(
            pieces,
            content_type="application/x-tar",
            headers={
                "Content-Disposition": f'attachment; filename="{saving.filename}"',
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            },
        )

    def _find(self, asked: dict[str, Any]) -> Saving:
        project = get_project_by_path(self.actor, self.kwargs["team"], self.kwargs["project"])
        image = queries.resolve(self.actor, project, self.kwargs["image"])
        return Saving.of(image, asked["format"], asked["name"])
