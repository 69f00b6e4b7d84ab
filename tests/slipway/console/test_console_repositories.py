"""Repositories in the console: who sees them, what is shown, what is changed, what is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from slipway.accounts.actors import Actor
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.blobs.directory import DirectoryStore
from slipway.blobs.opening import blob_store
from slipway.blobs.places import DirectoryPlace
from slipway.console.views import repositories as views
from slipway.projects.models import Project
from slipway.repositories import queries
from slipway.repositories.access import Access
from slipway.repositories.models import Repository, Tag, Visibility
from slipway.repositories.stacks import SHOWN_MAX, stack_of
from tests.factories import make_actor, make_project, make_team
from tests.registry_client import descriptor, image_manifest
from tests.slipway.repositories.pushing import Pusher
from workers.oci.descriptor import OCI_MANIFEST

pytestmark = pytest.mark.django_db
PAGE = "/projects/acme/shop/repositories/web/"
CONFIG = b'{"os": "linux", "architecture": "amd64", "history": [{"created_by": "RUN make it"}]}'


@pytest.fixture
def project() -> Project:
    return make_project(make_team("acme"), slug="shop")


@pytest.fixture
def owner(project: Project) -> Actor:
    return make_actor(project.team, username="olga")


@pytest.fixture
def repository(project: Project, owner: Actor, tmp_path: Path, settings: object) -> Repository:
    settings.SLIPWAY_BLOBS = DirectoryPlace(tmp_path / "blobs")  # type: ignore[attr-defined]
    pusher = Pusher(project, DirectoryStore(tmp_path / "blobs"), owner)
    pusher.image("web", "1", b"bottom", config=CONFIG)
    pusher.image("web", "2", b"bottom", b"top", config=CONFIG)
    return Repository.objects.get(name="web")


def signed_in(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


@pytest.fixture
def browser(owner: Actor) -> Client:
    return signed_in(owner)


def test_the_newest_tag_is_shown_with_its_layers_and_how_to_pull_it(
    browser: Client, repository: Repository
) -> None:
    page = browser.get(PAGE).content.decode()
    assert "docker pull testserver/acme/shop/web:2" in page
    assert "<b>RUN</b> make it" in page
    assert "linux/amd64" in page
    assert "docker pull testserver/acme/shop/web:1" in browser.get(f"{PAGE}?tag=1").content.decode()
    assert browser.get(f"{PAGE}?tag=none").status_code == 404


def test_a_private_one_exists_for_nobody_else_and_a_public_one_for_everybody(repository: Repository) -> None:
    stranger = signed_in(make_actor(make_team("others"), username="sten"))
    for client in (stranger, Client()):
        assert client.get(PAGE).status_code == 404
        assert "acme" not in client.get("/").content.decode() or client is stranger
    repository.visibility = Visibility.PUBLIC
    repository.save()
    for client in (stranger, Client()):
        page = client.get(PAGE).content.decode()
        assert "web:2" in page
        assert "Settings" not in page
        assert "olga" not in page or client is stranger
    front = Client().get("/?q=web").content.decode()
    assert "/projects/acme/shop/repositories/web/" in front
    assert "/repositories/web/" not in Client().get("/?q=nothing").content.decode()


def test_making_it_public_wants_to_be_confirmed_and_is_on_record(
    browser: Client, repository: Repository
) -> None:
    form = {"act": "visibility", "visibility": "public"}
    refused = browser.post(f"{PAGE}settings", form)
    assert (refused.status_code, b"Confirm that everybody" in refused.content) == (422, True)
    assert browser.post(f"{PAGE}settings", form | {"confirm": "on"}).status_code == 302
    repository.refresh_from_db()
    assert repository.visibility == Visibility.PUBLIC
    entry = Entry.objects.get(action="repository.visibility")
    assert (entry.before, entry.after) == ({"visibility": "private"}, {"visibility": "public"})


def test_a_readme_is_markdown_made_harmless(browser: Client, repository: Repository) -> None:
    text = "# Web\n\n<script>alert(1)</script> ![x](https://tracker.example/x.png)"
    assert browser.post(f"{PAGE}settings", {"act": "readme", "readme": text}).status_code == 302
    page = browser.get(PAGE).content.decode()
    assert "<h3>Web</h3>" in page
    assert "<script>alert" not in page
    assert '<img src="https' not in page


def test_rules_are_tried_before_they_are_kept(browser: Client, repository: Repository) -> None:
    rules = {"act": "try", "keep_last": "1", "immutable": "v*", "keep_patterns": ""}
    page = browser.post(f"{PAGE}settings", rules).content.decode()
    assert "would delete 1 of 2 tags" in page
    assert Tag.objects.count() == 2
    repository.refresh_from_db()
    assert repository.retention == {}
    assert browser.post(f"{PAGE}settings", rules | {"act": "rules"}).status_code == 302
    repository.refresh_from_db()
    assert (repository.retention["keep_last"], repository.immutable_tags) == (1, ["v*"])


def test_a_tag_is_deleted_with_its_image_and_what_is_freed_is_told(
    browser: Client, repository: Repository
) -> None:
    assert "that nothing else of the project needs" in browser.get(f"{PAGE}?tag=2").content.decode()
    done = browser.post(f"{PAGE}delete-tag", {"tag": "2"}, follow=True).content.decode()
    assert "2 is deleted" in done
    assert "are freed" in done
    assert list(Tag.objects.values_list("name", flat=True)) == ["1"]
    assert repository.manifests.count() == 1


def test_a_viewer_changes_nothing(project: Project, repository: Repository) -> None:
    viewer = signed_in(make_actor(project.team, Role.VIEWER, username="viv"))
    page = viewer.get(PAGE).content.decode()
    assert "delete-shown" not in page
    assert viewer.get(f"{PAGE}settings").status_code == 404
    assert viewer.post(f"{PAGE}delete-tag", {"tag": "2"}).status_code == 403
    assert viewer.post(f"{PAGE}delete", {"confirm": "acme/shop/web"}).status_code == 403
    assert Tag.objects.count() == 2


def test_a_repository_is_deleted_only_under_its_name(browser: Client, repository: Repository) -> None:
    assert browser.post(f"{PAGE}delete", {"confirm": "web"}).status_code == 302
    assert Repository.objects.exists()
    assert browser.post(f"{PAGE}delete", {"confirm": "acme/shop/web"}).status_code == 302
    assert not Repository.objects.exists()


def test_running_a_tag_leads_to_the_run_form_of_the_chosen_project(
    browser: Client, repository: Repository
) -> None:
    answer = browser.get(f"{PAGE}run?project=acme/shop&image=testserver/acme/shop/web:2")
    assert answer["Location"] == "/projects/acme/shop/run?image=testserver%2Facme%2Fshop%2Fweb%3A2"


def test_the_catalog_has_a_tab_for_each_place_and_facets(browser: Client, repository: Repository) -> None:
    for tab in ("team", "mine"):
        assert "/repositories/web/" in browser.get(f"/catalog/?tab={tab}").content.decode()
    assert "/repositories/web/" not in browser.get("/catalog/?tab=public").content.decode()
    assert "/repositories/web/" in browser.get("/catalog/?tab=mine&kind=image&days=7&q=shop").content.decode()
    for miss in ("kind=chart", "q=nowhere", "visibility=public", "architecture=s390x"):
        assert "Nothing found" in browser.get(f"/catalog/?tab=mine&{miss}").content.decode()


def test_a_name_with_slashes_has_an_address_by_its_id(
    browser: Client, project: Project, owner: Actor, tmp_path: Path, repository: Repository
) -> None:
    Pusher(project, DirectoryStore(tmp_path / "blobs"), owner).image("web/api", "1", b"x")
    inner = Repository.objects.get(name="web/api")
    assert f"/repositories/{inner.hex}/" in browser.get("/projects/acme/shop/repositories/").content.decode()
    assert browser.get(f"/projects/acme/shop/repositories/{inner.hex}/").status_code == 200


def test_what_is_not_named_is_counted(
    browser: Client, repository: Repository, project: Project, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "TAGS", 2)
    monkeypatch.setattr(views, "REFERRERS_MAX", 1)
    pusher = Pusher(project, blob_store(), owner)
    newest = repository.manifests.get(tags__name="2")
    for n in range(3):
        pusher.manifest("web", f"also-{n}", bytes(newest.content))
        subject = descriptor(bytes(newest.content), OCI_MANIFEST)
        pusher.manifest("web", None, image_manifest(CONFIG, subject=subject, annotations={"n": str(n)}))
    page = browser.get(PAGE).content.decode()
    assert "2, also-0 and 2 more" in page
    assert "and 2 more, which the registry lists" in page
    assert "3 signatures, SBOMs" not in page  # it has other tags, so nothing of it would go


def test_a_layer_that_many_share_names_some_of_them(
    browser: Client, repository: Repository, project: Project, owner: Actor
) -> None:
    pusher = Pusher(project, blob_store(), owner)
    for n in range(SHOWN_MAX + 3):
        pusher.image(f"other-{n:02}", "1", b"bottom", config=CONFIG)
    manifest = queries.show_manifest(repository, "2")
    stack = stack_of(Access.of(owner), manifest, blob_store())
    shared = [line.layer.shared_with for line in stack.lines if line.layer]
    assert shared[0] == tuple(f"acme/shop/other-{n:02}" for n in range(SHOWN_MAX))
    assert shared[1] == ()
    assert "acme/shop/other-00" in browser.get(PAGE).content.decode()


def test_a_visitor_costs_no_look_at_other_repositories(repository: Repository, project: Project) -> None:
    Repository.objects.update(visibility=Visibility.PUBLIC)
    name = "other"
    Repository.objects.create(
        project=project, name=name, path=f"acme/shop/{name}", visibility="public", readme="not to be read"
    )
    with CaptureQueriesContext(connection) as seen:
        assert Client().get(PAGE).status_code == 200
        assert Client().get(PAGE.replace("web", repository.hex)).status_code == 200
    lists = [
        each["sql"] for each in seen if "readme" in each["sql"] and "repositories_repository" in each["sql"]
    ]
    assert lists
    assert all("LIMIT 1" in sql or "LIMIT 21" in sql for sql in lists)


def test_developers_write_the_readme_and_see_no_other_setting(
    repository: Repository, project: Project
) -> None:
    browser = signed_in(make_actor(project.team, Role.DEVELOPER, username="dora"))
    assert f"{PAGE}settings" in browser.get(PAGE).content.decode()
    page = browser.get(f"{PAGE}settings").content.decode()
    assert "readme-title" in page
    assert not [each for each in ("visibility-title", "rules-title", "delete-title") if each in page]
    assert browser.post(f"{PAGE}settings", {"act": "readme", "readme": "# By Dora"}).status_code == 302
    for act in ("visibility", "rules", "try"):
        refused = browser.post(f"{PAGE}settings", {"act": act, "visibility": "public", "confirm": "on"})
        assert refused.status_code == 404
    repository.refresh_from_db()
    assert (repository.readme, repository.visibility) == ("# By Dora", "private")
