"""REST: the images of a project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.policy import Action, require
from slipway.bodies import body_of
from slipway.catalog import queries, services
from slipway.catalog.models import Image, Origin
from slipway.catalog.sizes import measure
from slipway.catalog.uploads import drop_unwanted, hand_over, open_archive
from slipway.jobs.api import JobOut
from slipway.jobs.idempotency import HEADER, Answer, fingerprint, once, parse_key
from slipway.jobs.models import Job
from slipway.nodes.agent import Upload
from slipway.nodes.models import Node
from slipway.nodes.services import ensure_home
from slipway.pagination import paginate
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, AsyncApiView, PageQuery, StrictSerializer, answered, validated
from workers.errors import NoSuchImage


class ImageOut(serializers.Serializer):
    id = serializers.CharField(source="image_id", help_text="The config digest.")
    digest = serializers.CharField(source="manifest_digest", help_text="Of the manifest.")
    references = serializers.ListField(
        child=serializers.CharField(),
        source="names",
        help_text="name:tag, as in this project's list; none for a dangling image.",
    )
    digests = serializers.ListField(
        child=serializers.CharField(),
        source="repo_digests",
        help_text="name@digest, as registries know it that it was pulled from or pushed to.",
    )
    project = serializers.CharField(source="project.path")
    size = serializers.IntegerField(help_text="Bytes of all layers, unpacked.")
    labels = serializers.DictField(child=serializers.CharField(), help_text="As its config says.")
    made_at = serializers.CharField(help_text="When it was built, as its config says; may be empty.")
    created_at = serializers.DateTimeField(help_text="When the project got it.")
    shared_size = serializers.IntegerField(help_text="Bytes of layers that other images here hold as well.")
    unique_size = serializers.IntegerField(help_text="Bytes that deleting it would free.")
    containers = serializers.IntegerField(
        source="containers_count", help_text="Made from it and not removed."
    )


class LayerOut(serializers.Serializer):
    digest = serializers.CharField(source="layer.digest", help_text="Of the blob as it came.")
    diff_id = serializers.CharField(source="layer.diff_id", help_text="Of the uncompressed layer.")
    size = serializers.IntegerField(source="layer.size")
    unpacked_size = serializers.IntegerField(source="layer.unpacked_size")
    created_by = serializers.CharField(help_text="The line of the history that made it.")
    shared_with = serializers.ListField(
        child=serializers.CharField(), help_text="Other images you can see here that hold this layer."
    )


class HistoryOut(serializers.Serializer):
    created = serializers.CharField(allow_null=True)
    created_by = serializers.CharField()
    comment = serializers.CharField()
    empty = serializers.BooleanField(help_text="It made no layer.")
    diff_id = serializers.CharField(source="layer.diff_id", default=None, allow_null=True)


class OriginOut(serializers.Serializer):
    """Where it was pulled from or pushed to."""

    kind = serializers.ChoiceField(choices=Origin.Kind.choices)
    reference = serializers.CharField()
    digest = serializers.CharField(help_text="Of its manifest there.")
    index_digest = serializers.CharField(help_text="Of the index that the tag named; may be empty.")
    stale = serializers.CharField(help_text="Why the cache was used against or without upstream's word.")
    at = serializers.DateTimeField()


class ImageDetailOut(ImageOut):
    origins = OriginOut(many=True, help_text="The newest first.")
    layers = LayerOut(many=True, help_text="The bottom one first.")
    history = HistoryOut(many=True, help_text="The oldest line first.")
    config = serializers.DictField(help_text="The image's OCI config.")


class ImagesQuery(PageQuery):
    name = serializers.CharField(required=False, default=None, help_text="Only of this name, any tag.")
    dangling = serializers.BooleanField(
        required=False, default=None, allow_null=True, help_text="Only without a name, or only with one."
    )


class ImportQuery(StrictSerializer):
    name = serializers.CharField(required=False, default=None, help_text="In place of the archive's names.")
    tag = serializers.CharField(required=False, default=None)
    change = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        default=list,
        help_text="Dockerfile lines for a plain root file system: CMD, ENTRYPOINT, ENV, USER, WORKDIR …",
    )


class ImportForm(serializers.Serializer):
    name = serializers.CharField(required=False)
    tag = serializers.CharField(required=False)
    change = serializers.ListField(child=serializers.CharField(), required=False)
    archive = serializers.FileField(help_text="The last part.")


def sized(images: Sequence[Image]) -> list[dict[str, Any]]:
    """``images``, all of one project, with what they take and how many containers they have."""
    measure(images)
    counts = queries.count_containers(images)
    for image in images:
        image.containers_count = counts.get(image.pk, 0)
    return list(ImageOut(images, many=True).data)


class Archives(BaseParser):
    """Bodies of the import are read by ``catalog.uploads``, not by DRF."""

    media_type = "*/*"


BINARY = {"type": "string", "format": "binary"}


class Images(AsyncApiView):
    parser_classes = [Archives]

    @extend_schema(
        operation_id="list_images",
        responses=page_of(ImageOut),
        parameters=[ImagesQuery],
        summary="Images, newest first",
    )
    async def get(self, request: Request, team: str, project: str) -> Response:
        return await sync_to_async(self._list)(team, project)

    def _list(self, team: str, project: str) -> Response:
        asked = self.query(ImagesQuery)
        found = get_project_by_path(self.actor, team, project)
        images = queries.list_images(self.actor, found, name=asked["name"], dangling=asked["dangling"])
        order = ("-created_at", "-id")
        page = paginate(self.request, images, order, cursor=asked["cursor"], limit=asked["limit"])
        return Response({"items": sized(page.items), "next": page.next})

    @extend_schema(
        operation_id="import_image",
        parameters=[ImportQuery],
        request={
            "application/x-tar": BINARY,
            "application/gzip": BINARY,
            "application/zstd": BINARY,
            "multipart/form-data": ImportForm,
        },
        responses={202: OpenApiResponse(JobOut, description="The job that unpacks it.")},
        summary="Import an image archive",
        description=(
            "Takes an OCI layout, what `docker save` writes, or a root file system; plain, gzip or zstd. "
            "The bytes pass through to the project's node; the job tells how the import goes on there."
        ),
    )
    async def post(self, request: Request, team: str, project: str) -> Response:
        asked = self.query(ImportQuery)
        found, node = await sync_to_async(self._prepare)(team, project, asked)
        body = body_of(request._request)
        archive = await open_archive(body)
        if archive.fields:
            asked = validated(ImportQuery, {**self._given(asked), **_single(archive.fields)})
            _check_name(asked)
        services.require_owner_of_tag(asked["name"], asked["tag"])
        await sync_to_async(services.require_room)(found, archive.at_least(body.length))
        upload = await hand_over(archive, node)
        return await self._queue_upload(found, node, upload, asked)

    async def _queue_upload(
        self, project: Project, node: Node, upload: Upload, asked: dict[str, Any]
    ) -> Response:
        """The upload is the job's then; one that nobody wants goes at once."""
        try:
            answer = await sync_to_async(self._queue_once)(project, upload, asked)
        except BaseException:
            await drop_unwanted(node, upload.digest)
            raise
        if "Idempotency-Replayed" in answer.headers:
            await drop_unwanted(node, upload.digest)
        return answer

    def _prepare(self, team: str, project: str, asked: dict[str, Any]) -> tuple[Project, Node]:
        """Everything that can be refused without the archive is refused before a byte of it flows."""
        found = get_project_by_path(self.actor, team, project)
        require(self.actor, Action.WRITE, found)
        _check_name(asked)
        return found, ensure_home(found)

    def _given(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in asked.items() if value}

    def _queue_once(self, project: Project, upload: Upload, asked: dict[str, Any]) -> Response:
        """With an ``Idempotency-Key`` the same archive sent again is imported once."""

        def act() -> Answer:
            job = self._queue(project, upload, asked)
            return Answer(202, JobOut(job).data, f"/api/v1/projects/{project.path}/jobs/{job.hex}")

        request = self.request
        if HEADER not in request.headers:
            return answered(act())
        parts = (request.get_full_path(), upload.digest, json.dumps(asked))
        mark = fingerprint(b"POST", *(part.encode() for part in parts))
        return answered(once(self.actor, parse_key(request.headers[HEADER]), mark, act))

    def _queue(self, project: Project, upload: Upload, asked: dict[str, Any]) -> Job:
        return services.import_image(
            self.actor,
            project,
            upload.digest,
            repository=asked["name"],
            tag=asked["tag"],
            changes=asked["change"],
            size=upload.size,
        )


def _single(fields: dict[str, list[str]]) -> dict[str, Any]:
    return {name: values if name == "change" else values[-1] for name, values in fields.items()}


def _check_name(asked: dict[str, Any]) -> None:
    if asked["name"] is not None:
        services.parse_name(asked["name"], asked["tag"])


class ImageDetail(ApiView):
    @extend_schema(
        operation_id="get_image", responses=ImageDetailOut, summary="One image, its layers and history"
    )
    def get(self, request: Request, team: str, project: str, image: str) -> Response:
        found = self._image(team, project, image)
        history = queries.history(found)
        sharing = queries.sharing(found)
        made_by = {line.layer.pk: line.created_by for line in history if line.layer is not None}
        answer = {
            **sized([found])[0],
            "origins": OriginOut(found.origins.all(), many=True).data,
            "layers": [
                LayerOut(
                    {
                        "layer": use.layer,
                        "created_by": made_by.get(use.layer.pk, ""),
                        "shared_with": use.shared_with,
                    }
                ).data
                for use in sharing.layers
            ],
            "history": HistoryOut(history, many=True).data,
            "config": json.loads(found.config),
        }
        return Response(answer)

    @extend_schema(
        operation_id="delete_image",
        request=None,
        responses={202: OpenApiResponse(JobOut, description="The job that frees it on the node.")},
        summary="Delete an image",
    )
    def delete(self, request: Request, team: str, project: str, image: str) -> Response:
        found = self._image(team, project, image)
        if found.project.path != f"{team}/{project}":
            raise NoSuchImage(f"The image {image[:160]!r} belongs to {found.project.path}; delete it there.")
        job = services.remove_image(self.actor, found)
        location = f"/api/v1/projects/{job.project.path}/jobs/{job.hex}"
        return Response(JobOut(job).data, status=202, headers={"Location": location})

    def _image(self, team: str, project: str, image: str) -> Image:
        return queries.resolve(self.actor, get_project_by_path(self.actor, team, project), image)
