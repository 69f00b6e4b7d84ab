"""Uploads between their requests: small ones without rows, one writer at a time, forgotten in the end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from slipway.audit.models import Entry
from slipway.blobs.directory import DirectoryStore
from slipway.blobs.store import UploadBusy
from slipway.bodies import ClientGone
from slipway.projects import ledger
from slipway.projects.models import Project, QuotaLimit, Resource
from slipway.registry.application import Registry
from slipway.registry.intake import Patience
from slipway.repositories import sessions
from slipway.repositories.certificates import new_upload_id, read
from slipway.repositories.errors import NoSuchUpload
from slipway.repositories.models import Blob, Repository, Upload
from slipway.repositories.sessions import SMALL, Session, Sessions
from tests.factories import make_project
from tests.registry_client import RegistryClient, digest_of

DATA = b"some bytes of a layer " * 1000
DIGEST = digest_of(DATA)


def held(project: Project) -> int:
    return ledger.used(project.pk).get(Resource.REGISTRY, 0)


@pytest.fixture
def pusher(client: RegistryClient, path: str) -> RegistryClient:
    """As docker comes: with a bearer token."""
    return client.sign_in(f"repository:{path}:pull,push")


def begin(client: RegistryClient, path: str) -> str:
    return client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]


# --------------------------------------------------------------------------- rows


def test_a_small_upload_writes_to_the_database_once(
    pusher: RegistryClient, path: str, project: Project
) -> None:
    location = begin(pusher, path)
    assert pusher.call("PATCH", location, DATA).status == 202
    assert (Upload.objects.count(), Repository.objects.count(), held(project)) == (0, 0, 0)
    assert pusher.call("PUT", f"{location}?digest={DIGEST}").status == 201
    assert (Blob.objects.count(), held(project)) == (1, len(DATA))
    assert Entry.objects.get(action="repository.create").object_name == path


def test_the_second_blob_of_a_push_asks_the_database_only_to_link_it(
    pusher: RegistryClient, path: str, django_assert_max_num_queries: Any
) -> None:
    pusher.push_blob(path, b"the first")
    with django_assert_max_num_queries(0):
        location = begin(pusher, path)
        pusher.call("PATCH", location, DATA)
    with django_assert_max_num_queries(12):
        pusher.call("PUT", f"{location}?digest={DIGEST}")


def test_what_grows_gets_a_row_and_holds_quota(pusher: RegistryClient, path: str, project: Project) -> None:
    location = begin(pusher, path)
    pusher.call("PATCH", location, [bytes(SMALL), b"x"])
    assert Upload.objects.get().reserved == held(project) > SMALL
    pusher.call("PATCH", location, b"y")
    data = bytes(SMALL) + b"xy"
    assert pusher.call("PUT", f"{location}?digest={digest_of(data)}").status == 201
    assert (Upload.objects.count(), held(project)) == (0, len(data))


def test_many_small_ones_together_hold_no_more_than_a_little_without_rows(
    pusher: RegistryClient, path: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "TOGETHER", 3 * len(DATA))
    locations = [begin(pusher, path) for _ in range(5)]
    for location in locations:
        assert pusher.call("PATCH", location, DATA).status == 202
    assert (Upload.objects.count(), held(project)) == (2, 2 * len(DATA))
    for location in locations:
        assert pusher.call("PUT", f"{location}?digest={DIGEST}").status == 201
    assert (Upload.objects.count(), held(project)) == (0, len(DATA))


def test_a_project_that_is_full_is_told_before_bytes_flow(
    pusher: RegistryClient, path: str, project: Project
) -> None:
    QuotaLimit.objects.create(project=project, resource=Resource.REGISTRY, amount=sessions.SMALL // 2)
    location = begin(pusher, path)
    refused = pusher.call("PATCH", location, bytes(sessions.SMALL))
    assert (refused.status, refused.code) == (403, "DENIED")
    assert refused.json["errors"][0]["detail"]["limit"] == sessions.SMALL // 2
    pusher.push_blob(path, bytes(sessions.SMALL // 2))
    full = pusher.call("POST", f"/v2/{path}/blobs/uploads/?digest={DIGEST}", DATA)
    assert (full.status, full.code) == (403, "DENIED")


def test_what_was_announced_and_did_not_come_is_not_held(
    pusher: RegistryClient, path: str, project: Project, registry: Registry
) -> None:
    location = begin(pusher, path)
    pusher.call("PATCH", location, DATA, breaks_off=True, content_length=str(20 << 30))
    assert held(project) < 1 << 20
    assert pusher.call("GET", location).headers["range"] == f"0-{len(DATA) - 1}"


def test_an_upload_that_something_comes_of_lives_on(pusher: RegistryClient, path: str) -> None:
    location = begin(pusher, path)
    pusher.call("PATCH", location, bytes(SMALL + 1))
    soon = timezone.now() + timedelta(minutes=5)
    Upload.objects.update(expires_at=soon)
    later = RegistryClient(pusher.registry, bearer=pusher.bearer)
    later.registry.desk.sessions = Sessions(lambda name: None)  # as after a restart
    later.call("PATCH", location, b"x")
    assert Upload.objects.get().expires_at > soon


# --------------------------------------------------------------------------- the end


def test_an_upload_that_ended_is_known_no_more(pusher: RegistryClient, path: str) -> None:
    finished, cancelled = begin(pusher, path), begin(pusher, path)
    pusher.call("PUT", f"{finished}?digest={DIGEST}", DATA)
    assert pusher.call("DELETE", cancelled).status == 204
    for location in (finished, cancelled):
        for method in ("GET", "PATCH", "DELETE"):
            assert pusher.call(method, location, b"x" if method == "PATCH" else b"").status == 404


def test_names_of_uploads_are_good_for_their_repository_and_hour_alone(
    pusher: RegistryClient, client: RegistryClient, path: str, project: Project
) -> None:
    name = begin(pusher, path).rpartition("/")[2]
    assert client.call("GET", f"/v2/{project.path}/other/blobs/uploads/{name}").code == "BLOB_UPLOAD_UNKNOWN"
    made_up = "0" * 32
    assert client.call("GET", f"/v2/{path}/blobs/uploads/{made_up}").code == "BLOB_UPLOAD_UNKNOWN"
    old = new_upload_id(path, timezone.now().timestamp() - 3601)
    assert client.call("GET", f"/v2/{path}/blobs/uploads/{old.hex}").code == "BLOB_UPLOAD_UNKNOWN"


def test_a_certificate_outlives_a_change_of_the_secret(settings: Any) -> None:
    key = new_upload_id("acme/shop/web", 1000.0)
    assert read(key, "acme/shop/other") is None
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    certificate = read(key, "acme/shop/web")
    assert certificate is not None
    assert (certificate.began, certificate.is_ours) == (1000.0, True)


def session(project: Project) -> Session:
    repository = Repository(project=project, name="web", path=f"{project.path}/web")
    return Session(Upload(id=new_upload_id(repository.path), repository=repository), room=None)


def test_who_is_silent_for_long_is_forgotten_with_its_bytes(db: None) -> None:
    now = [1000.0]
    forgotten: list[str] = []
    project = make_project()
    kept = Sessions(forgotten.append, clock=lambda: now[0])
    silent, busy = kept.add(session(project)), kept.add(session(project))
    assert kept.hold(silent, 1000)
    now[0] += 3000
    assert kept.find(busy.key, busy.upload.repository.path) is busy
    now[0] += 1000
    kept.add(session(project))
    assert forgotten == [silent.key]
    assert kept.find(silent.key, silent.upload.repository.path) is None
    assert kept.hold(busy, SMALL)


def test_one_request_at_a_time_writes(db: None) -> None:
    upload = session(make_project())
    with upload.alone(), pytest.raises(UploadBusy), upload.alone():
        pass
    upload.is_ended = True
    with pytest.raises(NoSuchUpload), upload.alone():
        pass


def test_a_stalled_writer_spoils_nothing(pusher: RegistryClient, path: str, store: DirectoryStore) -> None:
    """It looked where the upload ends, and sends its bytes when others have ended it."""
    location = begin(pusher, path)
    name = location.rpartition("/")[2]
    pusher.call("PATCH", location, DATA)
    with pytest.raises(UploadBusy):
        store.append(name, 0)
    with store.append(name, len(DATA)):
        busy = pusher.call("PUT", f"{location}?digest={DIGEST}")
        assert (busy.status, busy.code) == (409, "BLOB_UPLOAD_INVALID")
    assert pusher.call("PUT", f"{location}?digest={DIGEST}").status == 201
    with pytest.raises(UploadBusy):
        store.append(name, len(DATA))
    assert pusher.call("GET", f"/v2/{path}/blobs/{DIGEST}").body == DATA


def test_a_push_heals_a_blob_whose_bytes_were_lost(
    pusher: RegistryClient, path: str, project: Project, store: DirectoryStore
) -> None:
    pusher.push_blob(path, DATA)
    for damage in (None, b"less"):
        file = store.root / "blobs" / Blob.objects.get().key
        file.unlink() if damage is None else file.write_bytes(damage)
        assert pusher.call("HEAD", f"/v2/{path}/blobs/{DIGEST}").status == 404
        mounting = f"/v2/{path}/blobs/uploads/?mount={DIGEST}&from={path}"
        assert pusher.call("POST", mounting).status == 202
        pusher.push_blob(path, DATA)
        assert pusher.call("GET", f"/v2/{path}/blobs/{DIGEST}").body == DATA


# --------------------------------------------------------------------------- waits


def test_a_wait_that_takes_too_long_ends_and_leaves_the_task_alone() -> None:
    async def waits() -> list[str]:
        seen = []
        with Patience(0.05) as patience:
            await patience.wait(asyncio.sleep(0.01))
            await asyncio.sleep(0.2)  # not a wait for the client
            seen.append("worked")
            try:
                await patience.wait(asyncio.sleep(60))
            except ClientGone:
                seen.append("gone")
        await asyncio.sleep(0)  # was not cancelled
        return seen

    assert async_to_sync(waits)() == ["worked", "gone"]
