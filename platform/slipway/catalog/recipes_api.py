"""REST: recipes, for administrators."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.catalog import recipes
from slipway.jobs.api import JobOut
from slipway.jobs.queries import get_job
from slipway.views import ApiView, StrictSerializer


class BakedOut(serializers.Serializer):
    """What the library has by the recipe's name."""

    id = serializers.CharField(source="image_id")
    size = serializers.IntegerField(help_text="Bytes of all layers, unpacked.")
    created_at = serializers.DateTimeField()


class RecipeOut(serializers.Serializer):
    name = serializers.CharField(source="recipe.name")
    title = serializers.CharField(source="recipe.title")
    description = serializers.CharField(source="recipe.description")
    base = serializers.CharField(source="recipe.base", allow_null=True, help_text="What it is installed on.")
    references = serializers.ListField(child=serializers.CharField(), source="names")
    image = BakedOut(allow_null=True)
    job = JobOut(allow_null=True, help_text="The latest that was to make it.")


class RecipesOut(serializers.Serializer):
    items = RecipeOut(many=True)


class Recipes(ApiView):
    @extend_schema(
        operation_id="list_recipes",
        responses=RecipesOut,
        summary="What can be made from the distribution's packages",
        description="For administrators.",
    )
    def get(self, request: Request) -> Response:
        return Response({"items": RecipeOut(recipes.list_recipes(self.actor), many=True).data})


class Bake(ApiView):
    repeatable = True

    @extend_schema(
        operation_id="bake_recipe",
        request=None,
        responses={202: JobOut},
        summary="Make an image by a recipe, into the library",
        description="For administrators. Its names point at the new image once it is there.",
    )
    def post(self, request: Request, recipe: str) -> Response:
        self.body(StrictSerializer)
        job = recipes.bake_image(self.actor, recipe)
        location = f"/api/v1/projects/{job.project.path}/jobs/{job.hex}"
        seen = get_job(self.actor, job.hex)
        return Response(JobOut(seen).data, status=202, headers={"Location": location})
