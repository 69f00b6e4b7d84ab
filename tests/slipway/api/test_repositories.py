"""REST: repositories, their tags and manifests, and what deleting them frees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, Role
from slipway.blobs.directory import DirectoryStore
from slipway.repositories import api, retention_bodies
from slipway.repositories.models import Repository
from tests.registry_client import descriptor, digest_of, image_index, image_manifest
from tests.slipway.api.conftest import People, Rest
from tests.slipway.repositories.pushing import Pusher
from workers.oci.descriptor import OCI_MANIFEST

LAYER = b"layer" * 100


@pytest.fixture
def pusher(people: People, tmp_path: Path) -> Pusher:
    owner = Membership.objects.get(team=people.project.team, role=Role.OWNER).user
    return Pusher(people.project, DirectoryStore(tmp_path / "blobs"), Actor(user=owner))


@pytest.fixture
def owner(people: People) -> Rest:
    return Rest(people.owner)


def put(rest: Rest, path: str, body: Any) -> Any:
    return rest.client.put(path, body, content_type="application/json")


def patch(rest: Rest, path: str, body: Any) -> Any:
    return rest.client.patch(path, body, content_type="application/json")


def test_repositories_of_a_project(people: People, owner: Rest, pusher: Pusher) -> None:
    made = owner.post(f"{people.path}/repositories", {"name": "tools/lint"})
    assert (made.status_code, made.json()["visibility"]) == (201, "private")
    pusher.image("web", "v1", LAYER)
    pusher.image("other", "v1", LAYER, b"more")
    names = [each["name"] for each in owner.get(f"{people.path}/repositories").json()["items"]]
    assert names == ["other", "tools/lint", "web"]
    assert owner.get(made.headers["Location"]).json()["name"] == "tools/lint"
    found = owner.get(f"{people.path}/repositories/web").json()
    assert found["tags"] == 1
    shared = len(LAYER) + len(b"{}")
    assert found["usage"] == {"total": shared, "shared": shared, "unique": 0}
    other = owner.get(f"{people.path}/repositories/other").json()
    assert other["usage"] == {"total": shared + 4, "shared": shared, "unique": 4}
    assert owner.post(f"{people.path}/repositories", {"name": "Web"}).json()["code"] == "NAME_INVALID"


def test_a_repository_changes_all_at_once_or_not_at_all(people: People, owner: Rest, pusher: Pusher) -> None:
    pusher.image("web", "v1", LAYER)
    path = f"{people.path}/repositories/web"
    changes = {
        "visibility": "team",
        "readme": "# Web",
        "immutable_tags": ["v*"],
        "retention": {"keep_last": 5, "keep_patterns": ["release-*"]},
    }
    changed = patch(owner, path, changes).json()
    assert (changed["visibility"], changed["readme"]) == ("team", "# Web")
    assert changed["immutable_tags"] == ["v*"]
    assert changed["retention"]["keep_patterns"] == ["release-*"]
    refused = patch(owner, path, {"visibility": "public", "immutable_tags": ["x" * 200]})
    assert refused.status_code == 400
    assert Repository.objects.get().visibility == "team"
    assert patch(Rest(people.viewer), path, {"readme": "x"}).status_code == 403
    assert Rest(people.stranger).get(path).status_code == 404


def test_tags_and_what_they_name(people: People, owner: Rest, pusher: Pusher) -> None:
    manifest = pusher.image("web", "v1", LAYER)
    text = image_index(
        descriptor(bytes(manifest.content), OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64"})
    )
    pusher.manifest("web", "multi", text)
    signature = image_manifest(b"{}", subject=descriptor(bytes(manifest.content), OCI_MANIFEST))
    pusher.manifest("web", None, signature)
    path = f"{people.path}/repositories/web"
    tags = owner.get(f"{path}/tags").json()["items"]
    assert [(tag["name"], tag["size"]) for tag in tags] == [
        ("multi", len(LAYER) + 2),
        ("v1", len(LAYER) + 2),
    ]
    found = owner.get(f"{path}/manifests/{manifest.digest}").json()
    assert [blob["digest"] for blob in found["blobs"]] == [digest_of(b"{}"), digest_of(LAYER)]
    assert (found["tags"], found["referrers"]) == (["v1"], [digest_of(signature)])
    # Its signature goes along, and so their config does.
    assert found["unique_size"] == len(LAYER) + 2 + manifest.size + len(signature)
    index = owner.get(f"{path}/manifests/multi").json()
    assert [(each["digest"], each["platform"]) for each in index["manifests"]] == [
        (manifest.digest, "linux/arm64")
    ]
    assert owner.get(f"{path}/manifests/v7").json()["code"] == "MANIFEST_UNKNOWN"
    assert owner.get(f"{path}/manifests/sha256:x").json()["code"] == "DIGEST_INVALID"


def test_deleting_tells_what_it_frees(people: People, owner: Rest, pusher: Pusher) -> None:
    one = pusher.image("web", "v1", LAYER)
    two = pusher.image("web", "v2", LAYER, b"more")
    pusher.manifest("web", "also", bytes(two.content))
    path = f"{people.path}/repositories/web"
    assert owner.delete(f"{path}/tags/also").json() == {"manifests": 0, "freed_bytes": 0}
    assert owner.delete(f"{path}/tags/v2").json() == {"manifests": 1, "freed_bytes": two.size + 4}
    gone = owner.delete(f"{path}/manifests/{one.digest}").json()
    assert gone == {"manifests": 1, "freed_bytes": one.size + len(LAYER) + 2}
    assert owner.delete(path).status_code == 400
    assert owner.delete(f"{path}?confirm={people.project.path}/web").json()["manifests"] == 0
    assert owner.get(path).status_code == 404


def test_a_dry_run_of_rules_and_the_rules_themselves(people: People, owner: Rest, pusher: Pusher) -> None:
    for tag in ("a", "b", "c"):
        pusher.image("web", tag, tag.encode())
    path = f"{people.path}/repositories/web"
    tried = put(owner, f"{path}/retention", {"keep_last": 1}).json()
    assert [(each["tag"], each["kept"]) for each in tried["tags"]] == [
        ("c", True),
        ("b", False),
        ("a", False),
    ]
    assert len(tried["manifests"]) == 2
    assert all(each["kept"] for each in put(owner, f"{path}/retention", {}).json()["tags"])
    patch(owner, path, {"retention": {"keep_last": 1}})
    assert owner.post(f"{path}/retention").json()["freed_bytes"] == tried["freed_bytes"]
    assert owner.get(path).json()["tags"] == 1


def test_of_many_only_the_first_are_named_and_all_are_counted(
    people: People, owner: Rest, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "NAMED_MAX", 2)
    monkeypatch.setattr(retention_bodies, "PLANNED_MAX", 2)
    image = pusher.image("web", "c", LAYER)
    for tag in ("a", "b"):
        pusher.manifest("web", tag, bytes(image.content))
    for n in range(3):
        subject = descriptor(bytes(image.content), OCI_MANIFEST)
        pusher.manifest("web", None, image_manifest(b"{}", subject=subject, annotations={"n": str(n)}))
    pusher.image("web", "new", b"another")
    path = f"{people.path}/repositories/web"
    found = owner.get(f"{path}/manifests/{image.digest}").json()
    assert (found["tags"], found["tag_count"]) == (["a", "b"], 3)
    assert (len(found["referrers"]), found["referrer_count"]) == (2, 3)
    tried = put(owner, f"{path}/retention", {"keep_last": 1}).json()
    assert [each["tag"] for each in tried["tags"]] == ["b", "a"]  # those that would go
    assert (tried["tag_count"], tried["going_count"]) == (4, 3)
    assert (len(tried["manifests"]), tried["manifest_count"]) == (2, 4)
