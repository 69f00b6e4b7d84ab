"""Recipes: what administrators see of them, and what a bake asks of the node."""

from __future__ import annotations

import pytest
from django.utils import timezone

from slipway.accounts.actors import OPERATOR
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.catalog.errors import NoSuchRecipe
from slipway.catalog.models import Reference
from slipway.catalog.recipes import bake_image, get_recipe, list_recipes
from slipway.jobs.models import Job, JobState
from slipway.projects.models import Project
from tests.factories import make_actor, make_image, make_library, make_node
from workers.messages import BakeImage, decode_command

pytestmark = pytest.mark.django_db


@pytest.fixture
def library() -> Project:
    return make_library(node=make_node(heartbeat_at=timezone.now()))


def asked(job: Job) -> BakeImage:
    command = decode_command(job.command)
    assert isinstance(command, BakeImage)
    return command


def test_a_program_is_installed_on_what_the_library_has(library: Project) -> None:
    base = make_image(library, "debian:latest")
    assert asked(bake_image(OPERATOR, "redis")).base == base.image_id
    assert asked(bake_image(OPERATOR, "debian")).base is None


def test_a_program_without_its_base_leaves_the_base_to_the_node(library: Project) -> None:
    assert asked(bake_image(OPERATOR, "redis")).base is None


def test_the_state_of_a_recipe_is_its_image_with_all_its_names_and_its_latest_job(library: Project) -> None:
    image = make_image(library, "redis:latest")
    Reference.objects.create(project=library, image=image, name="redis", tag="7.0")
    Reference.objects.create(project=library, image=image, name="mine", tag="latest")
    bake_image(OPERATOR, "redis")
    again = bake_image(OPERATOR, "redis")
    state = get_recipe(OPERATOR, "redis")
    assert (state.image, state.names, state.job) == (image, ("redis:7.0", "redis:latest"), again)
    assert state.is_being_made
    Job.objects.update(state=JobState.SUCCEEDED)
    assert not get_recipe(OPERATOR, "redis").is_being_made
    assert get_recipe(OPERATOR, "nginx").image is None


def test_recipes_are_listed_in_constant_queries(library: Project, django_assert_max_num_queries) -> None:
    for name in ("redis", "nginx", "debian"):
        make_image(library, f"{name}:latest")
        bake_image(OPERATOR, name)
    with django_assert_max_num_queries(6):
        assert len([state.names for state in list_recipes(OPERATOR)]) == 7


def test_others_than_administrators_make_nothing(library: Project) -> None:
    with pytest.raises(NotAllowed):
        list_recipes(make_actor())
    with pytest.raises(NotAllowed):
        bake_image(make_actor(), "redis")


def test_an_unknown_recipe_and_a_missing_library_are_said_to_be(db: None) -> None:
    with pytest.raises(NotFound, match="ensure_library"):
        bake_image(OPERATOR, "redis")
    make_library(node=make_node())
    with pytest.raises(NoSuchRecipe, match="postgres"):
        bake_image(OPERATOR, "oracle")
