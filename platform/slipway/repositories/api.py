"""REST: the repositories of a project."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway import keeping
from slipway.accounts.errors import InvalidRequest
from slipway.pagination import paginate
from slipway.projects.queries import get_project_by_path
from slipway.repositories import manifests, queries, search, services
from slipway.repositories.access import Access
from slipway.repositories.models import Manifest, Repository, Visibility
from slipway.repositories.retention import Rules
from slipway.repositories.retention_bodies import PlanOut, RetentionIn, RetentionOut, rules_of
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer
from workers.oci.digest import Digest

NAMED_MAX = 100
"""Tags and referrers named with a manifest."""


class RepositoryOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    name = serializers.CharField(help_text="Below the project.")
    path = serializers.CharField(help_text="team/project/name, as in references behind the host.")
    visibility = serializers.ChoiceField(choices=Visibility.choices)
    pulls = serializers.IntegerField(source="pull_count")
    last_pull_at = serializers.DateTimeField(allow_null=True)
    last_push_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class RepositoryUsageOut(serializers.Serializer):
    total = serializers.IntegerField(help_text="Bytes of its blobs.")
    shared = serializers.IntegerField(help_text="Of them in other repositories of the project as well.")
    unique = serializers.IntegerField(help_text="What deleting it would free.")


class RepositoryDetailOut(RepositoryOut):
    readme = serializers.CharField(help_text="Markdown, as it was written.")
    immutable_tags = serializers.ListField(child=serializers.CharField())
    retention = serializers.SerializerMethodField()
    tags = serializers.IntegerField()
    usage = RepositoryUsageOut()

    @extend_schema_field(RetentionOut)
    def get_retention(self, repository: Repository) -> Any:
        return RetentionOut(Rules.parse(repository.retention)).data


class RepositoryIn(StrictSerializer):
    name = serializers.CharField(max_length=200, help_text="Lower-case; it may have slashes.")
    visibility = serializers.ChoiceField(
        choices=Visibility.choices, required=False, default=Visibility.PRIVATE
    )


class RepositoryChangeIn(StrictSerializer):
    visibility = serializers.ChoiceField(choices=Visibility.choices, required=False)
    readme = serializers.CharField(required=False, allow_blank=True, max_length=services.README_MAX)
    immutable_tags = serializers.ListField(
        child=serializers.CharField(max_length=128),
        required=False,
        max_length=20,
        help_text="Patterns as in v*: such a tag is set once.",
    )
    retention = RetentionIn(required=False)


class TagOut(serializers.Serializer):
    name = serializers.CharField()
    digest = serializers.CharField(source="manifest.digest", help_text="Of the manifest it names.")
    media_type = serializers.CharField(source="manifest.media_type")
    size = serializers.IntegerField(source="manifest.content_size", help_text="Bytes of all blobs it needs.")
    updated_at = serializers.DateTimeField()
    updated_by = serializers.CharField()


class NamedBlobOut(serializers.Serializer):
    digest = serializers.CharField(source="blob.digest")
    media_type = serializers.CharField()
    size = serializers.IntegerField(source="blob.size")


class InnerManifestOut(serializers.Serializer):
    digest = serializers.CharField(source="manifest.digest")
    platform = serializers.CharField()
    size = serializers.IntegerField(source="manifest.content_size")


class ManifestOut(serializers.Serializer):
    digest = serializers.CharField()
    media_type = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes of the manifest itself.")
    content_size = serializers.IntegerField(help_text="Bytes of all blobs it needs.")
    unique_size = serializers.SerializerMethodField(help_text="Bytes that deleting it would free.")
    artifact_type = serializers.CharField()
    config_digest = serializers.CharField(help_text="The id of the image; empty if it is none.")
    platform = serializers.CharField(allow_null=True, help_text="As linux/arm64; null until it is known.")
    subject = serializers.CharField(help_text="The digest of what it says something about, or empty.")
    annotations = serializers.DictField(child=serializers.CharField())
    tags = serializers.SerializerMethodField(help_text=f"The first {NAMED_MAX} of its tags.")
    tag_count = serializers.SerializerMethodField(help_text="Of all its tags.")
    blobs = NamedBlobOut(source="references", many=True, help_text="The config, then the layers upwards.")
    manifests = InnerManifestOut(source="children", many=True, help_text="Of an index.")
    referrers = serializers.SerializerMethodField(
        help_text=f"Digests of the first {NAMED_MAX} signatures, SBOMs and the like."
    )
    referrer_count = serializers.SerializerMethodField(help_text="Of all of them.")
    pushed_by = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_unique_size(self, manifest: Manifest) -> int:
        return manifests.frees(manifest)

    def get_tags(self, manifest: Manifest) -> list[str]:
        return queries.some_tags(manifest, NAMED_MAX).items

    def get_tag_count(self, manifest: Manifest) -> int:
        return manifest.tags.count()

    def get_referrers(self, manifest: Manifest) -> list[str]:
        return list(_referrers(manifest).values_list("digest", flat=True)[:NAMED_MAX])

    def get_referrer_count(self, manifest: Manifest) -> int:
        return _referrers(manifest).count()


def _referrers(manifest: Manifest) -> QuerySet[Manifest]:
    return queries.list_referrers(manifest.repository, Digest.parse(manifest.digest))


class FreedOut(serializers.Serializer):
    manifests = serializers.IntegerField(help_text="How many went, with all that only they needed.")
    freed_bytes = serializers.IntegerField(
        source="size", help_text="What the project holds less; the disk has it back within a minute."
    )


class DeleteQuery(StrictSerializer):
    confirm = serializers.CharField(max_length=255, help_text="Its path, to be sure.")


class TagQuery(StrictSerializer):
    keep_manifest = serializers.BooleanField(
        required=False, default=False, help_text="Only the tag goes, even if nothing else names its image."
    )


class RepositoryCardOut(RepositoryOut):
    tag = serializers.CharField(help_text="The newest; empty if it has none.")
    kind = serializers.CharField(help_text="image, chart or artifact, by the newest tag.")
    size = serializers.IntegerField(help_text="Bytes of all blobs the newest tag needs.")

    def to_representation(self, card: search.Card) -> dict[str, Any]:
        known = RepositoryOut(card.repository).data
        return {**known, "tag": card.tag, "kind": card.kind, "size": card.size}


class SearchQuery(PageQuery):
    q = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200, help_text="Words of path and readme."
    )
    place = serializers.ChoiceField(
        choices=search.PLACES, required=False, default=None, help_text="For all; my teams'; where I may push."
    )
    visibility = serializers.ChoiceField(choices=Visibility.choices, required=False, default=None)
    kind = serializers.ChoiceField(choices=search.KINDS, required=False, default=None)
    architecture = serializers.CharField(
        required=False, default="", max_length=40, help_text="Of an image, as amd64.", allow_blank=True
    )
    days = serializers.IntegerField(
        required=False, default=None, min_value=0, max_value=36_500, help_text="Pushed to within so many."
    )


class Search(ApiView):
    @extend_schema(
        operation_id="search_repositories",
        responses=page_of(RepositoryCardOut),
        parameters=[SearchQuery],
        summary="Repositories I can see, the one pushed to last first",
    )
    def get(self, request: Request) -> Response:
        asked = self.query(SearchQuery)
        facets = {name: asked[name] or "" for name in ("place", "visibility", "kind", "architecture")}
        wanted = search.Wanted(asked["q"], **facets, days=asked["days"])
        rows = search.search(Access.of(self.actor), wanted, timezone.now())
        order = ("-sorted_at", "-id")
        page = paginate(self.request, rows, order, cursor=asked["cursor"], limit=asked["limit"])
        found = RepositoryCardOut(search.cards(page.items), many=True).data
        return Response({"items": found, "next": page.next})


class RepositoryView(ApiView):
    """Of what lies below one repository: by its name, or by its id where the name has slashes."""

    def repository(self, team: str, project: str, repository: str) -> Repository:
        return queries.get_repository_in(self.actor, team, project, repository)


class Repositories(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="list_repositories",
        responses=page_of(RepositoryOut),
        parameters=[PageQuery],
        summary="Repositories of a project, by name",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        found = get_project_by_path(self.actor, team, project)
        rows = queries.list_repositories(self.actor, found)
        return self.page(self.query(PageQuery), rows, RepositoryOut, ["name", "id"])

    @extend_schema(
        operation_id="create_repository",
        request=RepositoryIn,
        responses={201: RepositoryOut},
        summary="Make a repository",
        description="Pushing to one that does not exist makes it, too. Safe to repeat.",
    )
    def post(self, request: Request, team: str, project: str) -> Response:
        asked = self.body(RepositoryIn)
        found = get_project_by_path(self.actor, team, project)
        made = services.create_repository(self.actor, found, asked["name"], Visibility(asked["visibility"]))
        location = f"/api/v1/projects/{found.path}/repositories/{made.hex}"
        return Response(RepositoryOut(made).data, status=201, headers={"Location": location})


class RepositoryDetail(RepositoryView):
    @extend_schema(
        operation_id="get_repository",
        responses=RepositoryDetailOut,
        summary="One repository",
        description="By its name, or by its id where the name has slashes.",
    )
    def get(self, request: Request, team: str, project: str, repository: str) -> Response:
        return _detail(self.repository(team, project, repository))

    @extend_schema(
        operation_id="change_repository",
        request=RepositoryChangeIn,
        responses=RepositoryDetailOut,
        summary="Change visibility, readme, immutable tags or retention",
    )
    def patch(self, request: Request, team: str, project: str, repository: str) -> Response:
        asked = self.body(RepositoryChangeIn)
        found = self.repository(team, project, repository)
        services.change(self.actor, found, **_changes(asked))
        return _detail(found)

    @extend_schema(
        operation_id="delete_repository",
        request=None,
        parameters=[DeleteQuery],
        responses={200: FreedOut},
        summary="Delete a repository with all its images",
    )
    def delete(self, request: Request, team: str, project: str, repository: str) -> Response:
        found = self.repository(team, project, repository)
        if self.query(DeleteQuery)["confirm"] != found.path:
            raise InvalidRequest(f"confirm: type {found.path} to delete it.", field="confirm")
        return Response(FreedOut(services.delete_repository(self.actor, found)).data)


class Tags(RepositoryView):
    @extend_schema(
        operation_id="list_tags",
        responses=page_of(TagOut),
        parameters=[PageQuery],
        summary="Tags, the newest first",
    )
    def get(self, request: Request, team: str, project: str, repository: str) -> Response:
        rows = queries.newest_tags(self.repository(team, project, repository))
        return self.page(self.query(PageQuery), rows, TagOut, ["-updated_at", "-id"])


class TagDetail(RepositoryView):
    @extend_schema(
        operation_id="delete_tag",
        request=None,
        parameters=[TagQuery],
        responses={200: FreedOut},
        summary="Delete a tag, and its image if nothing else names that",
    )
    def delete(self, request: Request, team: str, project: str, repository: str, tag: str) -> Response:
        found = self.repository(team, project, repository)
        with_manifest = not self.query(TagQuery)["keep_manifest"]
        access = Access.of(self.actor)
        freed = manifests.delete_tag(access, found.path, tag, with_manifest=with_manifest)
        return Response(FreedOut(freed).data)


class ManifestDetail(RepositoryView):
    @extend_schema(
        operation_id="get_manifest",
        responses=ManifestOut,
        summary="A manifest, by digest or tag: what it names and what names it",
    )
    def get(self, request: Request, team: str, project: str, repository: str, manifest: str) -> Response:
        found = self.repository(team, project, repository)
        return Response(ManifestOut(queries.show_manifest(found, manifest)).data)

    @extend_schema(
        operation_id="delete_manifest",
        request=None,
        responses={200: FreedOut},
        summary="Delete a manifest, with its tags",
        description="By digest. Of an index its own manifests go along, and untagged referrers of any.",
    )
    def delete(self, request: Request, team: str, project: str, repository: str, manifest: str) -> Response:
        found = self.repository(team, project, repository)
        freed = manifests.delete_manifest(Access.of(self.actor), found.path, manifest)
        return Response(FreedOut(freed).data)


class Retention(RepositoryView):
    @extend_schema(
        operation_id="try_retention",
        request=RetentionIn,
        responses=PlanOut,
        summary="What retention rules would delete now",
        description="The rules in the body, or the repository's own if it is empty. Nothing is deleted.",
    )
    def put(self, request: Request, team: str, project: str, repository: str) -> Response:
        asked = self.body(RetentionIn) if request.data else None
        found = self.repository(team, project, repository)
        return Response(PlanOut(keeping.dry_run(self.actor, found, rules_of(asked) if asked else None)).data)

    @extend_schema(
        operation_id="apply_retention",
        request=None,
        responses={200: FreedOut},
        summary="Carry out the repository's retention rules now",
        description="They are carried out every few hours anyway.",
    )
    def post(self, request: Request, team: str, project: str, repository: str) -> Response:
        found = self.repository(team, project, repository)
        return Response(FreedOut(keeping.apply(self.actor, found)).data)


def _detail(repository: Repository) -> Response:
    known = RepositoryDetailOut(queries.with_figures(repository)).data
    return Response(known)


def _changes(asked: dict[str, Any]) -> dict[str, Any]:
    changes = dict(asked)
    if "visibility" in changes:
        changes["visibility"] = Visibility(changes["visibility"])
    if "retention" in changes:
        changes["retention"] = rules_of(changes["retention"])
    return changes
