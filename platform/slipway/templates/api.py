"""REST: templates, and running them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.containers.api import ContainerOut
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.templates import queries, services
from slipway.templates.fields import ALPHABETS, KINDS, LENGTH, PLAIN, TEXT
from slipway.templates.models import Template
from slipway.views import ApiView, PageQuery, StrictSerializer


def _text(high: int, **options: Any) -> serializers.CharField:
    return serializers.CharField(
        trim_whitespace=False, allow_blank=True, required=False, default="", max_length=high, **options
    )


def _words() -> serializers.ListField:
    word = serializers.CharField(trim_whitespace=False, allow_blank=True, max_length=4096)
    return serializers.ListField(child=word, required=False, allow_null=True, default=None, max_length=100)


class TemplateFieldIn(StrictSerializer):
    """A field of the form; its value becomes a variable of the container's environment."""

    name = serializers.CharField(max_length=100, help_text="The variable.")
    label = serializers.CharField(max_length=100)  # type: ignore[assignment]  # Field has one, too
    kind = serializers.ChoiceField(choices=KINDS, required=False, default=TEXT)
    help = _text(300)
    default = _text(4096)
    required = serializers.BooleanField(required=False, default=False)  # type: ignore[assignment]  # as above
    choices = serializers.ListField(
        child=serializers.CharField(max_length=200), required=False, default=list, max_length=100
    )
    length = serializers.IntegerField(required=False, default=LENGTH, help_text="Of a generated secret.")
    alphabet = serializers.ChoiceField(choices=list(ALPHABETS), required=False, default=PLAIN)


class TemplatePortIn(StrictSerializer):
    container = serializers.IntegerField(help_text="Where its program listens.")
    protocol = serializers.ChoiceField(choices=["tcp", "udp"], required=False, default="tcp")
    description = _text(100)


class TemplateVolumeIn(StrictSerializer):
    path = serializers.CharField(max_length=4095, help_text="Where its program keeps data.")
    description = _text(100)


class TemplateIn(StrictSerializer):
    slug = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=100)
    image = serializers.CharField(max_length=400, help_text="A reference, resolved where it is run.")
    description = _text(2000)
    category = _text(40)
    icon = serializers.ChoiceField(choices=services.ICONS, required=False, default="package")
    entrypoint = _words()
    command = _words()
    form = TemplateFieldIn(many=True, required=False, default=list, help_text="What is to be filled in.")
    ports = TemplatePortIn(many=True, required=False, default=list, help_text="Told; not published yet.")
    volumes = TemplateVolumeIn(many=True, required=False, default=list, help_text="Told; not mounted yet.")
    memory_bytes = serializers.IntegerField(required=False, allow_null=True, default=None)


class TemplateFieldOut(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # Field has one, too
    kind = serializers.ChoiceField(choices=KINDS)
    help = serializers.CharField()
    default = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]  # as above
    choices = serializers.ListField(child=serializers.CharField())
    length = serializers.IntegerField()
    alphabet = serializers.CharField()


class TemplateOut(serializers.Serializer):
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    category = serializers.CharField()
    icon = serializers.CharField()
    image = serializers.CharField()
    entrypoint = serializers.ListField(child=serializers.CharField(), allow_null=True)
    command = serializers.ListField(child=serializers.CharField(), allow_null=True)
    form = serializers.SerializerMethodField(help_text="What is to be filled in.")
    ports = TemplatePortIn(many=True, help_text="Told; not published yet.")
    volumes = TemplateVolumeIn(many=True, help_text="Told; not mounted yet.")
    memory_bytes = serializers.IntegerField(allow_null=True)
    runs_at_once = serializers.BooleanField(help_text="Nothing has to be filled in.")
    updated_at = serializers.DateTimeField()

    @extend_schema_field(TemplateFieldOut(many=True))
    def get_form(self, template: Template) -> Any:
        return [field.stored() for field in queries.fields_of(template)]


class TemplateRunIn(StrictSerializer):
    name = serializers.CharField(
        required=False, allow_null=True, default=None, help_text="Two words are made up if none is given."
    )
    values = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True),
        required=False,
        default=dict,
        help_text="Field to value; those left out have their default, secrets are made up.",
    )


class LaunchedOut(serializers.Serializer):
    container = ContainerOut()
    generated = serializers.DictField(
        child=serializers.CharField(), help_text="Secrets made for it, told this once."
    )


class TemplatesQuery(PageQuery):
    q = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200, help_text="Words to look for."
    )
    category = serializers.CharField(required=False, default="", allow_blank=True, max_length=40)


class Templates(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="list_templates",
        responses=page_of(TemplateOut),
        parameters=[TemplatesQuery],
        summary="Templates that can be run",
    )
    def get(self, request: Request) -> Response:
        asked = self.query(TemplatesQuery)
        found = queries.list_templates(self.actor, query=asked["q"], category=asked["category"])
        return self.page(asked, found, TemplateOut, ["category", "name", "slug"])

    @extend_schema(
        operation_id="create_template",
        request=TemplateIn,
        responses={201: TemplateOut},
        summary="Make a template; for administrators",
    )
    def post(self, request: Request) -> Response:
        made = services.create_template(self.actor, draft_of(self.body(TemplateIn)))
        location = f"/api/v1/templates/{made.slug}"
        return Response(TemplateOut(made).data, status=201, headers={"Location": location})


class TemplateDetail(ApiView):
    @extend_schema(operation_id="get_template", responses=TemplateOut, summary="One template")
    def get(self, request: Request, template: str) -> Response:
        return Response(TemplateOut(queries.get_template(self.actor, template)).data)

    @extend_schema(
        operation_id="change_template",
        request=TemplateIn,
        responses=TemplateOut,
        summary="Put another template in its place; for administrators",
    )
    def put(self, request: Request, template: str) -> Response:
        found = queries.get_template(self.actor, template)
        changed = services.change_template(self.actor, found, draft_of(self.body(TemplateIn)))
        return Response(TemplateOut(changed).data)

    @extend_schema(
        operation_id="remove_template", responses={204: None}, summary="Remove a template; for administrators"
    )
    def delete(self, request: Request, template: str) -> Response:
        services.remove_template(self.actor, queries.get_template(self.actor, template))
        return Response(status=204)


class RunTemplate(ApiView):
    # Not repeatable by key: its answer holds secrets, and an answer with a key is kept for a day.
    @extend_schema(
        operation_id="run_template",
        request=TemplateRunIn,
        responses={201: LaunchedOut},
        summary="Run a container of a template",
    )
    def post(self, request: Request, team: str, project: str, template: str) -> Response:
        where = get_project_by_path(self.actor, team, project)
        asked = self.body(TemplateRunIn)
        found = queries.get_template(self.actor, template)
        launched = services.run_template(self.actor, where, found, asked["values"], name=asked["name"])
        location = f"/api/v1/projects/{where.path}/containers/{launched.container.id}"
        body = LaunchedOut({"container": launched.container, "generated": launched.generated}).data
        return Response(body, status=201, headers={"Location": location, "Cache-Control": "no-store"})


def draft_of(body: dict[str, Any]) -> services.Draft:
    def words(name: str) -> tuple[str, ...] | None:
        return None if body[name] is None else tuple(body[name])

    plain = ("slug", "name", "image", "description", "category", "icon", "memory_bytes")
    return services.Draft(
        **{name: body[name] for name in plain},
        entrypoint=words("entrypoint"),
        command=words("command"),
        fields=tuple(body["form"]),
        ports=tuple(body["ports"]),
        volumes=tuple(body["volumes"]),
    )
