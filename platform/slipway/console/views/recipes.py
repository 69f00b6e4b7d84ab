"""What can be made from the distribution's packages; for administrators."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.catalog import recipes
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.console.views.answers import done, live_page
from slipway.projects.queries import find_library


@require_safe
@member_page
def recipe_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    if not actor.is_administrator:
        raise Http404("Recipes are for administrators.")
    context = {
        "recipes": recipes.list_recipes(actor),
        "library": find_library(),
        "nav": "catalog",
        "calls": curls(
            request, Call("All recipes", "GET", "/recipes"), Call("Make one", "POST", "/recipes/redis/bake")
        ),
    }
    return live_page(request, "console/recipes.html", "console/_recipes.html", context)


@require_POST
@member_page
def recipe_bake(request: HttpRequest, actor: Actor, recipe: str) -> HttpResponse:
    if not actor.is_administrator:
        raise Http404("Recipes are for administrators.")
    job = recipes.bake_image(actor, recipe)
    return done(request, f"{recipes.RECIPES[recipe].title} is being made.", reverse("job", args=[job.hex]))
