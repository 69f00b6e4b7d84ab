"""What a repository keeps, and what it lets nobody move."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway import keeping
from slipway.accounts.errors import InvalidRequest, NotAllowed
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.blobs.directory import DirectoryStore
from slipway.repositories import collection, manifests
from slipway.repositories.errors import ManifestInUse, TagImmutable
from slipway.repositories.models import Manifest, Repository, Tag, Visibility
from slipway.repositories.retention import Rules, TagFacts, judge
from slipway.repositories.services import change, set_rules
from tests.factories import make_actor, make_container, make_image
from tests.registry_client import descriptor, image_index, image_manifest
from tests.slipway.repositories.pushing import Pusher
from workers.oci.descriptor import OCI_MANIFEST

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.get_default_timezone())


def facts(*names: str) -> list[TagFacts]:
    """The first is the newest, each a day older than the one before."""
    return [TagFacts(name, f"digest of {name}", NOW - timedelta(days=age)) for age, name in enumerate(names)]


def kept(rules: Rules, tags: list[TagFacts], deployed: tuple[str, ...] = ()) -> dict[str, str]:
    return {each.tag.name: each.reason for each in judge(rules, tags, deployed, NOW) if each.kept}


def test_without_a_number_nothing_ever_goes() -> None:
    tags = facts("c", "b", "a")
    assert len(kept(Rules(), tags)) == 3
    assert len(kept(Rules(keep_patterns=("x*",), untagged_days=0), tags)) == 3


def test_any_rule_keeps_a_tag() -> None:
    tags = facts("main", "dev-2", "dev-1", "v1.0", "old", "older")
    rules = Rules(keep_last=1, keep_days=1, keep_patterns=("v*",))
    assert kept(rules, tags, ("digest of older",)) == {
        "main": "among the last 1",
        "dev-2": "set within 1 days",
        "v1.0": "matches v*",
        "older": "in use by a container",
    }
    assert "older" not in kept(Rules(keep_last=1, keep_deployed=False), tags, ("digest of older",))
    assert list(kept(Rules(keep_last=0), tags)) == []


def test_immutable_tags_stay() -> None:
    tag = TagFacts("v1", "d", NOW - timedelta(days=99), immutable=True)
    assert kept(Rules(keep_last=0), [tag]) == {"v1": "immutable"}


@pytest.fixture
def pushed(pusher: Pusher) -> list[Manifest]:
    """Images t0 to t4 with a layer of their own each; t4 is the newest."""
    made = [pusher.image("web", f"t{n}", b"layer %d" % n) for n in range(5)]
    for n in range(5):
        Tag.objects.filter(name=f"t{n}").update(updated_at=timezone.now() - timedelta(days=5 - n))
    return made


def test_a_dry_run_tells_what_would_go_and_the_run_does_it(
    pusher: Pusher, pushed: list[Manifest], store: DirectoryStore
) -> None:
    repository = Repository.objects.get()
    image = make_image(pusher.project, manifest_digest=pushed[0].digest)
    make_container(pusher.project, image=image)
    rules = Rules(keep_last=2)
    plan = keeping.dry_run(pusher.actor, repository, rules)
    assert plan.tags == ["t2", "t1"]
    assert {each.digest for each in plan.manifests} == {pushed[1].digest, pushed[2].digest}
    assert plan.freed == 2 * len(b"layer 1") + sum(each.size for each in pushed[1:3])
    assert Tag.objects.count() == 5
    set_rules(pusher.actor, repository, retention=rules)
    before = pusher.held()
    assert keeping.apply(pusher.actor, repository).size == plan.freed
    assert before - pusher.held() == plan.freed
    assert set(Tag.objects.values_list("name", flat=True)) == {"t0", "t3", "t4"}
    entry = Entry.objects.get(action="repository.retention")
    assert (entry.detail["tags"], entry.detail["freed"]) == (["t2", "t1"], plan.freed)
    assert keeping.apply(pusher.actor, repository).manifests == 0
    collection.sweep_blobs(store)


def test_the_sweep_carries_rules_out(pusher: Pusher, pushed: list[Manifest]) -> None:
    assert keeping.apply_all(timezone.now()) == 0
    set_rules(pusher.actor, Repository.objects.get(), retention=Rules(keep_last=1))
    assert keeping.apply_all(timezone.now()) > 0
    assert Entry.objects.get(action="repository.retention").actor == "retention"
    assert [tag.name for tag in Tag.objects.all()] == ["t4"]
    assert Manifest.objects.count() == 1


def test_what_a_kept_index_names_and_what_is_said_about_it_stays(pusher: Pusher) -> None:
    inner = pusher.image("web", None, b"layer")
    text = image_index(descriptor(bytes(inner.content), OCI_MANIFEST))
    pusher.manifest("web", "multi", text)
    signature = image_manifest(b"{}", subject=descriptor(bytes(inner.content), OCI_MANIFEST))
    pusher.manifest("web", None, signature)
    stray = pusher.image("web", None, b"stray", config=b"{ }")
    repository = Repository.objects.get()
    Manifest.objects.update(created_at=timezone.now() - timedelta(days=10))
    plan = keeping.dry_run(pusher.actor, repository, Rules(untagged_days=7))
    assert [each.digest for each in plan.manifests] == [stray.digest]
    assert keeping.dry_run(pusher.actor, repository, Rules(untagged_days=11)).manifests == []


def test_an_index_whose_image_runs_is_in_use(pusher: Pusher) -> None:
    inner = pusher.image("web", None, b"layer")
    pusher.manifest("web", "multi", image_index(descriptor(bytes(inner.content), OCI_MANIFEST)))
    make_container(pusher.project, image=make_image(pusher.project, image_id=inner.config_digest))
    plan = keeping.dry_run(pusher.actor, Repository.objects.get(), Rules(keep_last=0))
    assert [each.reason for each in plan.verdicts] == ["in use by a container"]


def test_an_immutable_tag_is_set_once(pusher: Pusher) -> None:
    first = pusher.image("web", "v1", b"one")
    repository = Repository.objects.get()
    set_rules(pusher.actor, repository, immutable_tags=["v*"])
    pusher.manifest("web", "v1", bytes(first.content))  # the same again is no change
    with pytest.raises(TagImmutable):
        pusher.image("web", "v1", b"two")
    pusher.image("web", "latest", b"two")
    pusher.image("web", "latest", b"three")
    for act in (
        lambda: manifests.delete_tag(pusher.access, repository.path, "v1"),
        lambda: manifests.delete_manifest(pusher.access, repository.path, first.digest),
    ):
        with pytest.raises(TagImmutable):
            act()
    assert Tag.objects.get(name="v1").manifest_id == first.pk


def test_only_maintainers_change_rules_and_visibility(pusher: Pusher) -> None:
    pusher.image("web", "v1", b"one")
    repository = Repository.objects.get()
    developer = make_actor(pusher.project.team, Role.DEVELOPER)
    for changes in ({"visibility": Visibility.PUBLIC}, {"retention": Rules(keep_last=1)}):
        with pytest.raises(NotAllowed):
            change(developer, repository, **changes)
    change(developer, repository, readme="# Hello")
    change(pusher.actor, repository, visibility=Visibility.PUBLIC)
    repository.refresh_from_db()
    assert (repository.visibility, repository.readme, repository.retention) == ("public", "# Hello", {})
    entry = Entry.objects.get(action="repository.visibility")
    assert (entry.before, entry.after) == ({"visibility": "private"}, {"visibility": "public"})
    with pytest.raises(InvalidRequest):
        change(pusher.actor, repository, immutable_tags=["x"] * 21, readme="lost")
    repository.refresh_from_db()
    assert repository.readme == "# Hello"


def test_what_an_index_names_is_not_deleted_under_it(pusher: Pusher) -> None:
    inner = pusher.image("web", None, b"layer")
    index = pusher.manifest("web", "v1", image_index(descriptor(bytes(inner.content), OCI_MANIFEST)))
    repository = Repository.objects.get()
    for immutable in (["v*"], []):
        set_rules(pusher.actor, repository, immutable_tags=immutable)
        with pytest.raises(ManifestInUse, match=index.digest):
            manifests.delete_manifest(pusher.access, repository.path, inner.digest)
    assert manifests.delete_manifest(pusher.access, repository.path, index.digest).manifests == 2
    assert Manifest.objects.count() == 0


@pytest.fixture
def multi(pusher: Pusher) -> Manifest:
    """An index of two images, one with a signature and one with a tag of its own; ``old`` is its tag."""
    inner = [pusher.image("web", None, b"layer %d" % n, config=b"{%s}" % (b" " * n)) for n in range(2)]
    named = [descriptor(bytes(each.content), OCI_MANIFEST) for each in inner]
    index = pusher.manifest("web", "old", image_index(*named))
    pusher.manifest("web", "old-arm", bytes(inner[1].content))
    pusher.manifest("web", None, image_manifest(b"{}", subject=named[0]))
    pusher.image("web", "new", b"another", config=b"{  }")
    Tag.objects.exclude(name="new").update(updated_at=timezone.now() - timedelta(days=5))
    return index


def test_a_dry_run_counts_what_goes_along(pusher: Pusher, multi: Manifest) -> None:
    repository = Repository.objects.get()
    set_rules(pusher.actor, repository, retention=Rules(keep_last=1))
    plan = keeping.dry_run(pusher.actor, repository)
    assert len(plan.manifests) == 4
    freed = keeping.apply(pusher.actor, repository)
    assert (freed.manifests, freed.size) == (4, plan.freed)
    assert [each.tags.get().name for each in Manifest.objects.all()] == ["new"]


def test_what_deleting_an_index_frees_is_known_before(pusher: Pusher, multi: Manifest) -> None:
    told, before = manifests.frees(multi), pusher.held()
    manifests.delete_tag(pusher.access, pusher.path("web"), "old-arm")
    assert manifests.frees(multi) > told
    told = manifests.frees(multi)
    assert manifests.delete_manifest(pusher.access, pusher.path("web"), multi.digest).size == told
    assert before - pusher.held() == told


def test_an_index_of_many_is_deleted_with_few_queries(
    pusher: Pusher, django_assert_max_num_queries: Any
) -> None:
    """As many for forty images as for one."""
    pusher.blob("web", b"{}")
    pusher.blob("web", b"layer")
    texts = [image_manifest(b"{}", b"layer", annotations={"n": str(n)}) for n in range(40)]
    for text in texts:
        pusher.manifest("web", None, text)
    index = pusher.manifest("web", "multi", image_index(*(descriptor(each, OCI_MANIFEST) for each in texts)))
    with django_assert_max_num_queries(40):
        manifests.delete_manifest(pusher.access, pusher.path("web"), index.digest)
    assert Manifest.objects.count() == 0


def test_a_tag_that_a_push_moves_is_on_record_with_where_it_was(pusher: Pusher) -> None:
    first, second = (pusher.image("web", "v1", layer) for layer in (b"one", b"two"))
    pusher.manifest("web", "v1", bytes(second.content))
    entries = Entry.objects.filter(action="manifest.push").order_by("seq")
    assert [(entry.before, entry.after) for entry in entries] == [
        (None, None),
        ({"digest": first.digest}, {"digest": second.digest}),
        (None, None),
    ]
