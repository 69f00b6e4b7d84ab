"""REST: how much of nodes' slots a team gets."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts.queries import get_team
from slipway.jobs import weights
from slipway.jobs.fairness import WEIGHT_MAX
from slipway.views import ApiView, StrictSerializer


class WeightBody(StrictSerializer):
    weight = serializers.IntegerField(
        min_value=1, max_value=WEIGHT_MAX, help_text="Twice the weight of another team: twice as many builds."
    )


class TeamWeight(ApiView):
    @extend_schema(
        operation_id="get_team_weight",
        responses=WeightBody,
        summary="How much of the builds' slots a team gets",
    )
    def get(self, request: Request, team: str) -> Response:
        return Response({"weight": weights.weight_of(get_team(self.actor, team))})

    @extend_schema(
        operation_id="set_team_weight",
        request=WeightBody,
        responses=WeightBody,
        summary="Set how much of the builds' slots a team gets",
        description="For administrators.",
    )
    def put(self, request: Request, team: str) -> Response:
        asked = self.body(WeightBody)
        weights.set_weight(self.actor, get_team(self.actor, team), asked["weight"])
        return Response(asked)
