"""REST: what a build gave out instead of an image."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from slipway.builds.api import BINARY, find
from slipway.builds.errors import NoOutput
from slipway.builds.models import Build
from slipway.catalog.transfer_api import DockerTar
from slipway.nodes import agent
from slipway.views import AsyncApiView
from workers.errors import NoSuchBlob


class Tar(DockerTar):
    format = "tar"


class BuildOutput(AsyncApiView):
    renderer_classes = [Tar]

    @extend_schema(
        operation_id="read_build_output",
        responses={(200, "application/x-tar"): BINARY},
        summary="The tar that a build with output tar or files made",
        description="It is kept on the build's node for a day.",
    )
    async def get(self, request: Request, **path: str) -> StreamingHttpResponse:
        build = await sync_to_async(find)(self)
        name = f"build-{build.number}.tar"
        return StreamingHttpResponse(
            await _opened(build),
            content_type="application/x-tar",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            },
        )


async def _opened(build: Build) -> AsyncIterator[bytes]:
    """Its pieces, the first of which has come. Raise ``NoOutput``, ``NodeUnreachable``."""
    if not build.output:
        raise NoOutput(f"Build #{build.number} made no tar: it was asked for an image, or has not succeeded.")
    pieces = agent.read_upload(build.job.node, build.output)
    try:
        first = await anext(pieces, b"")
    except NoSuchBlob as error:
        raise NoOutput("The tar of this build is no longer kept; build it again.") from error

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async with aclosing(pieces) as others:  # type: ignore[type-var]  # an async generator in fact
            async for piece in others:
                yield piece

    return rest()
