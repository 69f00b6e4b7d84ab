from __future__ import annotations

from slipway.accounts.models import Membership
from tests.factories import digest, image_config, make_container, make_image, make_library
from tests.roads import RecordingRoad
from tests.slipway.api.conftest import People, Rest
from workers.messages import RemoveImage

HISTORY = [
    {"created": "2026-01-01T00:00:00Z", "created_by": "ADD rootfs.tar /"},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "RUN make", "comment": "slow"},
]


def test_an_image_is_told_with_its_layers_and_history(people: People) -> None:
    config = image_config(history=HISTORY)
    image = make_image(people.project, "web:1.0", layers=("base", "made"), config=config)
    make_image(people.project, "other:1.0", layers=("base",))
    rest = Rest(people.viewer)
    body = rest.get(f"{people.path}/images/web:1.0").json()
    assert (body["id"], body["digest"]) == (image.image_id, image.manifest_digest)
    assert body["references"] == ["web:1.0"]
    assert [layer["diff_id"] for layer in body["layers"]] == [digest("base"), digest("made")]
    assert [layer["created_by"] for layer in body["layers"]] == ["ADD rootfs.tar /", "RUN make"]
    assert body["layers"][0] == {
        "digest": digest("blob base"),
        "diff_id": digest("base"),
        "size": 60,
        "unpacked_size": 100,
        "created_by": "ADD rootfs.tar /",
        "shared_with": ["other:1.0"],
    }
    assert [line["empty"] for line in body["history"]] == [False, True, False]
    assert [line["diff_id"] for line in body["history"]] == [digest("base"), None, digest("made")]
    assert (body["shared_size"], body["unique_size"]) == (100, 100)
    assert body["config"]["config"] == {"Cmd": ["sh"]}
    for name in (image.image_id, image.short_id, image.image_id.removeprefix("sha256:")):
        assert rest.get(f"{people.path}/images/{name}").json()["id"] == image.image_id


def test_the_library_is_seen_from_every_project_but_only_in_use(people: People) -> None:
    library = make_library()
    image = make_image(library, "busybox:latest")
    rest = Rest(people.owner)
    assert rest.get(f"{people.path}/images/busybox").json()["project"] == "library/library"
    assert rest.get(f"{people.path}/images").json()["items"] == []
    refused = rest.delete(f"{people.path}/images/{image.image_id}")
    assert (refused.status_code, refused.json()["code"]) == (404, "IMAGE_UNKNOWN")
    refused = rest.delete(f"/api/v1/projects/library/library/images/{image.image_id}")
    assert (refused.status_code, refused.json()["code"]) == (403, "NOT_ALLOWED")
    # An administrator, too, must name the project it is in.
    refused = Rest(people.administrator).delete(f"{people.path}/images/busybox")
    assert refused.json()["code"] == "IMAGE_UNKNOWN"


def test_an_image_of_another_project_is_unknown(people: People) -> None:
    theirs = make_image(name="secret:1.0")
    rest = Rest(people.owner)
    for name in (theirs.image_id, "secret:1.0", theirs.short_id):
        answer = rest.get(f"{people.path}/images/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "IMAGE_UNKNOWN")


def test_a_reference_with_slashes_is_found(people: People) -> None:
    make_image(people.project, "team/deep/web:1.0")
    body = Rest(people.owner).get(f"{people.path}/images/team/deep/web:1.0").json()
    assert body["references"] == ["team/deep/web:1.0"]


def test_deleting_is_a_job(people: People, road: RecordingRoad) -> None:
    image = make_image(people.project)
    rest = Rest(people.owner)
    answer = rest.delete(f"{people.path}/images/busybox")
    assert answer.status_code == 202
    assert answer.json()["kind"] == "image.remove"
    assert rest.get(answer["Location"]).json()["state"] == "queued"
    [command] = road.take()
    assert command == RemoveImage(answer.json()["id"], people.project.hex, image.image_id)
    assert rest.get(f"{people.path}/images").json()["items"] == []


def test_an_image_in_use_stays(people: People) -> None:
    make_container(people.project, name="web", image=make_image(people.project))
    answer = Rest(people.owner).delete(f"{people.path}/images/busybox")
    assert (answer.status_code, answer.json()["code"]) == (409, "IMAGE_IN_USE")
    assert "'web'" in answer.json()["detail"]


def test_who_left_the_team_sees_no_image_any_more(people: People) -> None:
    make_image(people.project)
    Membership.objects.filter(team=people.project.team).delete()
    assert Rest(people.owner).get(f"{people.path}/images").status_code == 404
