"""REST: finding images by name."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.catalog.registries import Registries
from slipway.catalog.search import Found, Outcome, search_lists, search_repositories, search_upstream
from slipway.projects.queries import get_project_by_path
from slipway.views import AsyncApiView, StrictSerializer

KINDS = ("local", "library", "repository", "upstream")


class SearchQuery(StrictSerializer):
    q = serializers.CharField(max_length=200, help_text="Words that name or tag must hold.")
    project = serializers.RegexField(
        r"^[a-z0-9-]+/[a-z0-9-]+$", required=False, default=None, help_text="Only this one, as team/project."
    )
    kind = serializers.ListField(
        child=serializers.ChoiceField(choices=[(word, word) for word in KINDS]),
        required=False,
        default=list,
        help_text="Only these; else all.",
    )


class FoundImageOut(serializers.Serializer):
    kind = serializers.ChoiceField(choices=[(word, word) for word in KINDS])
    reference = serializers.CharField(help_text="What to run or pull.")
    project = serializers.CharField(allow_null=True, help_text="Whose it is.")
    description = serializers.CharField()
    stars = serializers.IntegerField(allow_null=True)
    official = serializers.BooleanField()


class SearchOut(serializers.Serializer):
    items = FoundImageOut(many=True, help_text="At most 25 of each source; nearest first.")
    failures = serializers.ListField(
        child=serializers.CharField(), help_text="Registries that were asked and did not answer."
    )


class Search(AsyncApiView):
    @extend_schema(
        operation_id="search_images",
        parameters=[SearchQuery],
        responses=SearchOut,
        summary="Find images in lists, repositories and registries",
    )
    async def get(self, request: Request) -> Response:
        asked = self.query(SearchQuery)
        items = await sync_to_async(self._here)(asked)
        outside = Outcome(())
        if not asked["kind"] or "upstream" in asked["kind"]:
            outside = await search_upstream(asked["q"], Registries.of_settings())
        found = Outcome((*items, *outside.items), outside.failures)
        return Response(SearchOut(found).data)

    def _here(self, asked: dict[str, Any]) -> list[Found]:
        project = None
        if asked["project"]:
            project = get_project_by_path(self.actor, *asked["project"].split("/"))
        found = search_lists(self.actor, asked["q"], project)
        found += search_repositories(self.actor, asked["q"], Registries.of_settings(), project)
        return [each for each in found if not asked["kind"] or each.kind in asked["kind"]]
