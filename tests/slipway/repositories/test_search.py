"""Finding repositories: only what one may see, by words, place and facets; and their images as stacks."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from slipway.accounts.models import Role
from slipway.blobs.directory import DirectoryStore
from slipway.blobs.s3 import StoreFailed
from slipway.projects.models import Project
from slipway.repositories import platforms, queries, services
from slipway.repositories.access import Access
from slipway.repositories.models import Blob, Manifest, Repository, Visibility
from slipway.repositories.search import Wanted, cards, search
from slipway.repositories.stacks import stack_of
from tests.factories import make_actor, make_project, make_team
from tests.slipway.repositories.pushing import Pusher
from workers.oci.descriptor import OCI_INDEX, OCI_MANIFEST

CONFIG = {
    "os": "linux",
    "architecture": "arm64",
    "history": [
        {"created_by": "FROM scratch"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "COPY . /srv"},
    ],
}


def found(access: Access, **wanted: object) -> list[str]:
    rows = search(access, Wanted(**wanted), timezone.now())  # type: ignore[arg-type]  # by name
    return [each.name for each in rows]


@pytest.fixture
def shelf(pusher: Pusher) -> Pusher:
    """One of each visibility, pushed in this order."""
    for name in ("private", "team", "public"):
        pusher.image(name, "1", b"layer of " + name.encode())
        Repository.objects.filter(name=name).update(visibility=name)
    return pusher


def test_nobody_finds_more_than_they_may_pull(shelf: Pusher, project: Project) -> None:
    stranger = make_actor(make_team("others"))
    colleague = make_actor(make_team("free"), username="col")
    make_project(project.team, slug="second")
    assert found(shelf.access) == ["public", "team", "private"]
    assert found(Access.of(stranger)) == found(Access()) == found(Access.of(colleague)) == ["public"]
    assert found(Access.of(stranger), words="private") == []
    assert found(Access.of(make_actor(project.team, Role.VIEWER, username="viv")), place="team") == [
        "public",
        "team",
        "private",
    ]


def test_places_and_facets(shelf: Pusher, project: Project) -> None:
    viewer = Access.of(make_actor(project.team, Role.VIEWER, username="viv"))
    assert found(shelf.access, place="public") == ["public"]
    assert found(shelf.access, place="mine") == ["public", "team", "private"]
    assert found(viewer, place="mine") == []
    assert found(shelf.access, visibility="team") == ["team"]
    Repository.objects.filter(name="team").update(last_push_at=timezone.now() - timedelta(days=40))
    assert found(shelf.access, days=30) == ["public", "private"]


def test_words_are_looked_for_in_path_and_readme(shelf: Pusher) -> None:
    repository = Repository.objects.get(name="private")
    services.set_readme(shelf.actor, repository, "# Payments\nfor the shop")
    assert found(shelf.access, words="shop payments") == ["private"]
    assert found(shelf.access, words="PUBLIC shop") == ["public"]
    assert found(shelf.access, words="payments public") == []


def test_kinds_are_told_by_what_a_tag_names(shelf: Pusher) -> None:
    chart = shelf.blob("chart", b"chart config")
    text = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json",
            "digest": chart.digest,
            "size": chart.size,
        },
        "layers": [],
    }
    shelf.manifest("chart", "1", json.dumps(text).encode())
    note = shelf.blob("note", b"{}")
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": note.digest, "size": note.size}
    other = text | {"config": empty, "artifactType": "application/vnd.example.note"}
    shelf.manifest("note", "1", json.dumps(other).encode())
    assert found(shelf.access, kind="chart") == ["chart"]
    assert found(shelf.access, kind="artifact") == ["note"]
    assert found(shelf.access, kind="image") == ["public", "team", "private"]
    kinds = {card.repository.name: card.kind for card in cards(list(Repository.objects.all()))}
    assert kinds == {
        "chart": "chart",
        "note": "artifact",
        "public": "image",
        "team": "image",
        "private": "image",
    }


def test_an_index_is_found_by_its_architectures(pusher: Pusher) -> None:
    inner = pusher.image("multi", None, b"layer")
    entry = {"mediaType": OCI_MANIFEST, "digest": inner.digest, "size": inner.size}
    entry["platform"] = {"os": "linux", "architecture": "arm64"}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    pusher.manifest("multi", "1", json.dumps(index).encode())
    assert found(pusher.access, architecture="arm64") == ["multi"]
    assert found(pusher.access, architecture="s390x") == []


def test_an_image_is_found_by_its_own_architecture(pusher: Pusher, store: DirectoryStore) -> None:
    configs = {
        "plain": CONFIG,
        "variant": {"os": "linux", "architecture": "arm", "variant": "v7"},
        "odd": {"os": ["linux"], "architecture": "arm64"},
        "evil": {"os": "linux", "architecture": "a/b c"},
        "none": {},
    }
    for name, config in configs.items():
        pusher.image(name, "1", b"layer", config=json.dumps(config).encode())
    broken = pusher.image("broken", "1", b"layer", config=b"[not json")
    assert found(pusher.access, architecture="arm64") == []  # nobody has looked yet
    assert platforms.fill(store) == len(configs) + 1
    assert platforms.fill(store) == 0
    assert found(pusher.access, architecture="arm64") == ["plain"]
    assert found(pusher.access, architecture="arm") == ["variant"]
    told = dict(Manifest.objects.values_list("repository__name", "platform"))
    assert (told["plain"], told["variant"]) == ("linux/arm64", "linux/arm/v7")
    assert {told[name] for name in ("odd", "evil", "none", "broken")} == {""}
    store.delete(Blob.objects.get(references__manifest=broken, references__position=0).key)
    Manifest.objects.update(platform=None)
    assert platforms.fill(store) == len(configs) + 1
    assert found(pusher.access, architecture="arm64") == ["plain"]


def test_what_is_no_image_has_no_platform_and_is_not_looked_at_again(pusher: Pusher) -> None:
    note = pusher.blob("note", b"{}")
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": note.digest, "size": note.size}
    text = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": empty, "layers": []}
    assert pusher.manifest("note", "1", json.dumps(text).encode()).platform == ""
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert pusher.manifest("index", "1", json.dumps(index).encode()).platform == ""


def test_a_store_that_does_not_answer_is_asked_again(
    pusher: Pusher, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher.image("plain", "1", b"layer", config=json.dumps(CONFIG).encode())
    with monkeypatch.context() as patch:
        patch.setattr(store, "open", lambda key: (_ for _ in ()).throw(StoreFailed("out of order")))
        platforms.fill(store)
    assert Manifest.objects.get().platform is None
    platforms.fill(store)
    assert Manifest.objects.get().platform == "linux/arm64"


def test_cards_cost_the_same_however_many(shelf: Pusher, django_assert_num_queries) -> None:
    rows = list(search(shelf.access, Wanted(), timezone.now()))
    with django_assert_num_queries(2):
        assert [card.tag for card in cards(rows)] == ["1", "1", "1"]


def test_a_stack_pairs_layers_with_what_made_them_and_who_shares_them(
    pusher: Pusher, store: DirectoryStore
) -> None:
    config = json.dumps(CONFIG).encode()
    pusher.image("web", "1", b"bottom", b"top", config=config)
    pusher.image("api", "1", b"bottom")
    repository = Repository.objects.get(name="web")
    stack = stack_of(pusher.access, queries.show_manifest(repository, "1"), store)
    assert stack.platform == "linux/arm64"
    assert [(line.created_by, line.layer and line.layer.size) for line in stack.lines] == [
        ("FROM scratch", 6),
        ("ENV A=1", None),
        ("COPY . /srv", 3),
    ]
    assert [line.layer.shared_with for line in stack.lines if line.layer] == [(pusher.path("api"),), ()]
    services.set_visibility(pusher.actor, repository, Visibility.PUBLIC)
    anonymous = stack_of(Access(), queries.show_manifest(repository, "1"), store)
    assert [line.layer.shared_with for line in anonymous.lines if line.layer] == [(), ()]


@pytest.mark.parametrize("config", [b"no json", b"[]", b'{"history": [1, {"created_by": 7}]}'])
def test_a_config_that_says_nonsense_still_shows_the_layers(
    pusher: Pusher, store: DirectoryStore, config: bytes
) -> None:
    pusher.image("web", "1", b"bottom", config=config)
    manifest = queries.show_manifest(Repository.objects.get(name="web"), "1")
    lines = stack_of(pusher.access, manifest, store).lines
    assert [line.layer.size for line in lines if line.layer] == [6]
