"""REST: containers. Bodies become a ``ContainerRequest``; the rules are in services."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.containers import queries, services
from slipway.containers.models import Container, State
from slipway.containers.requests import ContainerRequest
from slipway.containers.shown import shown_env
from slipway.containers.waiting import Condition, wait
from slipway.jobs.api import CauseOut
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, AsyncApiView, PageQuery, StrictSerializer


class ContainerOut(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    project = serializers.CharField(source="project.path")
    image = serializers.CharField(source="image_name", help_text="As it was asked for.")
    image_id = serializers.CharField(source="spec.image_id")
    state = serializers.ChoiceField(choices=State.choices, help_text="What is known to be the case.")
    desired = serializers.ChoiceField(choices=State.choices, help_text="What was last asked for.")
    pending = serializers.BooleanField(help_text="The node has not yet answered the last wish.")
    run = serializers.IntegerField(help_text="Number of the latest run; 0 before the first.")
    exit_code = serializers.IntegerField(allow_null=True)
    oom_killed = serializers.BooleanField()
    cause = CauseOut(allow_null=True, help_text="Why it failed or ended.")
    address = serializers.IPAddressField(allow_null=True)
    node = serializers.CharField(source="node.name")
    created_by = serializers.CharField(source="created_by_name")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    removed_at = serializers.DateTimeField(allow_null=True)


class LimitsOut(serializers.Serializer):
    memory_bytes = serializers.IntegerField()
    cpu_millis = serializers.IntegerField(help_text="Thousandths of a core.")
    pids = serializers.IntegerField()


class ConfigOut(serializers.Serializer):
    """What was asked for; null means as the image says."""

    entrypoint = serializers.ListField(child=serializers.CharField(), allow_null=True)
    command = serializers.ListField(child=serializers.CharField(), allow_null=True)
    env = serializers.SerializerMethodField(help_text="NAME=value; values of secrets are not shown.")
    working_dir = serializers.CharField(allow_null=True)
    user = serializers.CharField(allow_null=True)
    hostname = serializers.CharField()
    tty = serializers.BooleanField()
    stop_signal = serializers.CharField(allow_null=True)
    read_only = serializers.BooleanField()  # type: ignore[assignment]  # Field has one, too
    no_new_privileges = serializers.BooleanField()
    labels = serializers.DictField(child=serializers.CharField())
    limits = LimitsOut()

    def get_env(self, spec: dict[str, Any]) -> list[str]:
        return shown_env(spec["env"], spec.get("labels") or {})


class ContainerDetailOut(ContainerOut):
    config = ConfigOut(source="spec")


class WaitOut(serializers.Serializer):
    reached = serializers.BooleanField(help_text="False when the timeout came first.")
    container = ContainerOut()


class LimitsIn(StrictSerializer):
    memory_bytes = serializers.IntegerField(required=False, allow_null=True, default=None)
    cpu_millis = serializers.IntegerField(
        required=False, allow_null=True, default=None, help_text="Thousandths of a core."
    )
    pids = serializers.IntegerField(required=False, allow_null=True, default=None)


def _text(**options: object) -> serializers.CharField:
    """A field whose value is the user's to the last blank; its rules are in ``containers.requests``."""
    return serializers.CharField(allow_blank=True, trim_whitespace=False, **options)  # type: ignore[arg-type]  # passed on as they are


def _optional(help_text: str) -> serializers.CharField:
    return _text(required=False, allow_null=True, default=None, help_text=help_text)


class ContainerIn(StrictSerializer):
    image = serializers.CharField(max_length=400, help_text="A reference, an image id or six digits of one.")
    name = _optional("Two words are made up if none is given.")
    entrypoint = serializers.ListField(child=_text(), required=False, allow_null=True, default=None)
    command = serializers.ListField(child=_text(), required=False, allow_null=True, default=None)
    env = serializers.ListField(child=_text(), required=False, default=list, help_text="NAME=value")
    working_dir = _optional("An absolute path.")
    user = _optional("user or user:group, by name or number.")
    hostname = _optional("Else the beginning of the id.")
    tty = serializers.BooleanField(required=False, default=False)
    stop_signal = _optional("SIGTERM, TERM or 15.")
    read_only = serializers.BooleanField(required=False, default=False)  # type: ignore[assignment]  # as above
    labels = serializers.DictField(child=_text(), required=False, default=dict)
    limits = LimitsIn(required=False, default=dict)
    start = serializers.BooleanField(required=False, default=True, help_text="Start it as soon as it exists.")


class ContainersQuery(PageQuery):
    all = serializers.BooleanField(required=False, default=False, help_text="Those no longer running, too.")
    removed = serializers.BooleanField(
        required=False, default=False, help_text="Removed ones, too; implies all."
    )


class StopIn(StrictSerializer):
    timeout = serializers.FloatField(required=False, default=10.0, help_text="Seconds until SIGKILL.")


class KillIn(StrictSerializer):
    signal = serializers.CharField(required=False, default="SIGKILL", max_length=40)


class RemoveQuery(StrictSerializer):
    force = serializers.BooleanField(required=False, default=False, help_text="Kill it first if it runs.")


class WaitQuery(StrictSerializer):
    condition = serializers.ChoiceField(
        choices=Condition.choices, required=False, default=Condition.NOT_RUNNING.value
    )
    timeout = serializers.FloatField(
        required=False,
        allow_null=True,
        default=None,
        min_value=0,
        max_value=86400,
        help_text="Seconds; without it there is no end to the waiting.",
    )


EXAMPLE = OpenApiExample(
    "Run a command",
    {
        "image": "busybox:latest",
        "name": "hello",
        "command": ["sh", "-c", "echo $GREETING; exit 3"],
        "env": ["GREETING=hello"],
        "limits": {"memory_bytes": 64 << 20, "cpu_millis": 500, "pids": 64},
    },
    request_only=True,
)
CONTAINER = OpenApiParameter("container", str, OpenApiParameter.PATH, description="Its name or id.")


class Containers(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="list_containers",
        responses=page_of(ContainerOut),
        parameters=[ContainersQuery],
        summary="Containers, newest first",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        asked = self.query(ContainersQuery)
        found = get_project_by_path(self.actor, team, project)
        rows = queries.list_containers(
            self.actor, found, removed=asked["removed"], ended=asked["all"] or asked["removed"]
        )
        return self.page(asked, rows, ContainerOut)

    @extend_schema(
        operation_id="create_container",
        examples=[EXAMPLE],
        request=ContainerIn,
        responses={201: ContainerDetailOut},
        summary="Create a container, and start it",
    )
    def post(self, request: Request, team: str, project: str) -> Response:
        asked = self.body(ContainerIn)
        limits = asked.pop("limits")
        found = get_project_by_path(self.actor, team, project)
        container = services.create_container(self.actor, found, _request(asked, limits))
        location = f"/api/v1/projects/{found.path}/containers/{container.id}"
        return Response(ContainerDetailOut(container).data, status=201, headers={"Location": location})


def _request(asked: dict[str, object], limits: dict[str, int | None]) -> ContainerRequest:
    argv: dict[str, tuple[str, ...] | None] = {
        name: None if asked[name] is None else tuple(asked[name])  # type: ignore[arg-type]  # lists, by the serializer
        for name in ("entrypoint", "command")
    }
    return ContainerRequest(**{**asked, **limits, **argv, "env": tuple(asked["env"])})  # type: ignore[arg-type]  # fields of the serializer


class OneContainer(ApiView):
    """Base of the views below a container's address."""

    def found(self) -> Container:
        """Raise ``NotFound``."""
        return find(self)


def find(view: ApiView) -> Container:
    project = get_project_by_path(view.actor, view.kwargs["team"], view.kwargs["project"])
    return queries.get_container(view.actor, view.kwargs["container"], project)


class ContainerDetail(OneContainer):
    @extend_schema(
        operation_id="get_container",
        responses=ContainerDetailOut,
        parameters=[CONTAINER],
        summary="One container",
    )
    def get(self, request: Request, **path: str) -> Response:
        return Response(ContainerDetailOut(self.found()).data)

    @extend_schema(
        operation_id="remove_container",
        request=None,
        parameters=[CONTAINER, RemoveQuery],
        responses={202: ContainerOut},
        summary="Remove a container",
        description="Its row, its outcome and its log stay readable by its id.",
    )
    def delete(self, request: Request, **path: str) -> Response:
        asked = self.query(RemoveQuery)
        container = services.remove(self.actor, self.found(), force=asked["force"])
        return Response(ContainerOut(container).data, status=202)


class Start(OneContainer):
    repeatable = True

    @extend_schema(
        operation_id="start_container",
        request=None,
        parameters=[CONTAINER],
        responses={202: ContainerOut},
        summary="Start a container",
    )
    def post(self, request: Request, **path: str) -> Response:
        self.body(StrictSerializer)
        return Response(ContainerOut(services.start(self.actor, self.found())).data, status=202)


class Stop(OneContainer):
    repeatable = True

    @extend_schema(
        operation_id="stop_container",
        request=StopIn,
        parameters=[CONTAINER],
        responses={202: ContainerOut},
        summary="Stop a container",
    )
    def post(self, request: Request, **path: str) -> Response:
        asked = self.body(StopIn)
        container = services.stop(self.actor, self.found(), asked["timeout"])
        return Response(ContainerOut(container).data, status=202)


class Kill(OneContainer):
    @extend_schema(
        operation_id="kill_container",
        request=KillIn,
        parameters=[CONTAINER],
        responses={204: OpenApiResponse(description="The signal was sent.")},
        summary="Send a signal to a container's first process",
    )
    def post(self, request: Request, **path: str) -> Response:
        asked = self.body(KillIn)
        services.kill(self.actor, self.found(), asked["signal"])
        return Response(status=204)


class Wait(AsyncApiView):
    @extend_schema(
        operation_id="wait_for_container",
        parameters=[CONTAINER, WaitQuery],
        responses=WaitOut,
        summary="Wait for a container",
    )
    async def get(self, request: Request, **path: str) -> Response:
        asked = self.query(WaitQuery)
        container = await sync_to_async(find)(self)
        row, is_reached = await wait(container, Condition(asked["condition"]), asked["timeout"])
        return Response(WaitOut({"reached": is_reached, "container": row}).data)
