"""Images made from the distribution's packages, for installations without a registry in reach.

What a recipe does is the node's to know (``workers.engine.recipes``); here is what people see of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.errors import NoSuchRecipe
from slipway.catalog.models import Image, Reference
from slipway.catalog.services import parse_name
from slipway.jobs.models import Job, JobKind
from slipway.jobs.services import new_job, queue_job
from slipway.projects.models import Project
from slipway.projects.queries import find_library
from workers.messages import BakeImage

ROOT = "debian"


@dataclass(frozen=True)
class Recipe:
    name: str
    title: str
    description: str
    icon: str
    base: str | None = None
    """The recipe of the image it is installed on."""


_ALL = (
    Recipe("busybox", "BusyBox", "A shell and some three hundred small tools in one static program.", "box"),
    Recipe("debian", "Debian", "The smallest Debian that has apt; those below stand on it.", "stack-2"),
    Recipe("python", "Python", "Python 3 with pip and venv.", "terminal-2", ROOT),
    Recipe("node", "Node.js", "Node.js with npm.", "terminal-2", ROOT),
    Recipe("redis", "Redis", "Key-value store; with REDIS_PASSWORD it asks for one.", "database", ROOT),
    Recipe(
        "postgres",
        "PostgreSQL",
        "Database; its first start makes it of POSTGRES_PASSWORD.",
        "database",
        ROOT,
    ),
    Recipe("nginx", "nginx", "Web server; what it logs is in the container's log.", "network", ROOT),
)
RECIPES = {each.name: each for each in _ALL}


@dataclass(frozen=True)
class RecipeState:
    recipe: Recipe
    image: Image | None
    """What the library has by the recipe's name."""
    tags: tuple[str, ...]
    job: Job | None
    """The latest that was to make it."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.recipe.name}:{tag}" for tag in self.tags)

    @property
    def is_being_made(self) -> bool:
        return self.job is not None and self.job.is_active


def list_recipes(actor: Actor) -> list[RecipeState]:
    """For administrators. Constant queries. Raise ``NotFound`` (no library yet), ``NotAllowed``."""
    library = _library(actor)
    images = {
        reference.name: reference.image
        for reference in Reference.objects.filter(
            project=library, name__in=RECIPES, tag="latest"
        ).select_related("image__project__team")
    }
    tags = _tags(images.values())
    jobs: dict[str, Job] = {}
    made = Job.objects.filter(project=library, kind=JobKind.BAKE_IMAGE, subject__in=_subjects())
    for job in made.select_related("project__team", "node", "created_by").order_by("created_at", "id"):
        jobs[job.subject.partition(":")[0]] = job
    return [
        RecipeState(recipe, image, tags.get(image.pk, ()) if image else (), jobs.get(name))
        for name, recipe in RECIPES.items()
        for image in [images.get(name)]
    ]


def get_recipe(actor: Actor, name: str) -> RecipeState:
    """Raise ``NoSuchRecipe``, and what ``list_recipes`` does."""
    found = [each for each in list_recipes(actor) if each.recipe.name == name]
    if not found:
        raise _unknown(name)
    return found[0]


def bake_image(actor: Actor, recipe: str, *, repository: str | None = None, tag: str = "latest") -> Job:
    """Make an image in the library by a named recipe. For administrators.

    Raise ``NoSuchRecipe``, ``NotAllowed``, ``NotFound`` (no library yet), ``NoNode``.
    """
    library = _library(actor)
    if recipe not in RECIPES:
        raise _unknown(recipe)
    name = parse_name(repository or recipe, tag)
    job = new_job(JobKind.BAKE_IMAGE, name.familiar)
    base = _base(library, RECIPES[recipe])
    command = BakeImage(
        job=job.hex,
        scope=library.hex,
        recipe=recipe,
        repository=name.familiar_name,
        tag=name.tag or "latest",
        base=base.image_id if base else None,
    )
    with transaction.atomic():
        queue_job(actor, library, job, command)
        record(actor, "image.bake", library, recipe=recipe, subject=job.subject)
    return job


def _library(actor: Actor) -> Project:
    library = find_library()
    if library is None:
        raise NotFound("There is no library yet. Run `manage.py ensure_library`.")
    require(actor, Action.WRITE, library)
    return library


def _base(library: Project, recipe: Recipe) -> Image | None:
    """What the library has of it; its node makes one where there is none."""
    if recipe.base is None:
        return None
    named = Reference.objects.filter(project=library, name=recipe.base, tag="latest", image__withdrawn=False)
    reference = named.select_related("image").first()
    return reference.image if reference else None


def _subjects() -> list[str]:
    return [f"{name}:latest" for name in RECIPES]


def _tags(images: Iterable[Image]) -> dict[object, tuple[str, ...]]:
    found: dict[object, tuple[str, ...]] = {}
    rows = Reference.objects.filter(image__in=list(images), name__in=RECIPES).order_by("tag")
    for reference in rows:
        found[reference.image_id] = (*found.get(reference.image_id, ()), reference.tag)
    return found


def _unknown(name: str) -> NoSuchRecipe:
    return NoSuchRecipe(
        f"There is no recipe {name[:60]!r}; known are {', '.join(RECIPES)}.", recipe=name[:60]
    )
