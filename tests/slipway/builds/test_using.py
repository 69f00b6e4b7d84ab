"""What builds use of images: while they run, and of our own registry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway.accounts.actors import OPERATOR, Actor
from slipway.accounts.models import Token
from slipway.builds.models import BuildStep, StepState
from slipway.builds.using import statement_of
from slipway.catalog import services
from slipway.catalog.access import home_of_builds
from slipway.catalog.errors import ImageInUse
from slipway.catalog.pushes import push_image
from slipway.jobs.models import Job, JobState
from slipway.repositories import tokens
from slipway.repositories.access import reads_for_home
from slipway.repositories.models import Repository, Visibility
from tests.factories import digest, make_build, make_image, make_project
from tests.roads import RecordingRoad
from tests.slipway.builds.acting import begin, create, finished, succeed, tell, world
from workers.messages import BuildOptions, PushImage

pytestmark = pytest.mark.django_db


def test_an_image_that_a_build_under_way_begins_from_stays() -> None:
    project = make_project()
    image, other = make_image(project, "base:latest"), make_image(project, "rebase:latest")
    build = make_build(project, job={"state": JobState.RUNNING})
    BuildStep.objects.create(
        build=build, number=1, position=0, stage="web", name="[web 1/2] FROM base", state=StepState.DONE
    )
    with pytest.raises(ImageInUse) as caught:
        services.remove_image(OPERATOR, image)
    assert caught.value.facts == {"builds": 1, "used_by": f"build #{build.number}"}
    services.remove_image(OPERATOR, other)
    Job.objects.filter(pk=build.job_id).update(state=JobState.SUCCEEDED)
    services.remove_image(OPERATOR, image)


def test_a_build_may_begin_from_what_its_project_has_in_our_registry() -> None:
    project, others = make_project(), make_project()
    for owner in (project, others):
        Repository.objects.create(project=owner, name="web", path=f"{owner.path}/web")
    own, theirs = (f"localhost:8000/{owner.path}/cache" for owner in (project, others))
    targets = (f"type=registry,ref={own}:1,mode=max", f"{theirs}:1", "inline", "type=registry,ref=No No")
    access = home_of_builds(make_build(project).job, BuildOptions(cache_to=targets))
    assert access.keys() >= {"localhost:8000", "127.0.0.1:8000"}
    claims = tokens.verify(access["localhost:8000"].password or "", "access")
    assert claims.grants == {f"{project.path}/cache": {"pull", "push"}}
    access_of_node = tokens.access_of(claims)
    assert [reads_for_home(access_of_node, each) for each in Repository.objects.order_by("created_at")] == [
        True,
        False,
    ]


def test_a_build_reads_no_more_than_the_token_that_wished_it(road: RecordingRoad) -> None:
    who, project = world()
    other = make_project(project.team)
    rows = [
        (project, Visibility.PRIVATE), (other, Visibility.PRIVATE), (other, Visibility.TEAM),
        (make_project(), Visibility.PUBLIC), (make_project(), Visibility.PRIVATE),
    ]  # fmt: skip
    paths = [f"{owner.path}/{visibility.value}" for owner, visibility in rows]
    for path, (owner, visibility) in zip(paths, rows, strict=True):
        Repository.objects.create(project=owner, name=visibility.value, path=path, visibility=visibility)

    def seen(actor: Actor) -> set[str]:
        build = create(road, (actor, project))
        job = Job.objects.get(pk=build.job_id)
        access = home_of_builds(job, BuildOptions())["localhost:8000"]
        node = tokens.access_of(tokens.verify(access.password or "", "access"))
        return {each.path for each in Repository.objects.all() if reads_for_home(node, each)}

    own, private, of_team, public, _ = paths
    assert seen(who) == {own, private, of_team, public}
    narrow, wide = (
        Token(user=who.user, prefix=name, scopes=["write"], project=of)
        for name, of in (("n", project), ("w", None))
    )
    assert seen(replace(who, token=narrow)) == {own, of_team, public}
    assert seen(replace(who, token=wide)) == {own, private, of_team, public}


def test_a_push_of_a_built_image_takes_along_what_its_first_build_said(road: RecordingRoad) -> None:
    who = world()
    image = make_image(who[1], "web:1")
    for word in ("first", "from the cache"):
        build = create(road, who)
        event = replace(finished(build, 1, word), image_id=image.image_id, provenance=f"by the {word}")
        succeed(tell(begin(build), event))
    failed = make_build(who[1], job={"state": JobState.FAILED}, image_id=digest("of a failed one"))
    other = make_image(who[1], "else:1")
    road.take()
    for each in (image, other):
        push_image(who[0], who[1], each, "example.org/team/web:2")
        road.commit()
    pushed = [each for each in road.take() if isinstance(each, PushImage)]
    assert [each.provenance for each in pushed] == ["by the first", ""]
    assert statement_of(who[1].hex, failed.image_id) == ""
    assert statement_of(make_project().hex, image.image_id) == ""
    assert "by the first" not in Job.objects.get(pk=pushed[0].job).command
