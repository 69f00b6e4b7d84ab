"""REST: what retention rules look like in requests and answers, and a dry run of them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from slipway.repositories.expiry import Plan
from slipway.repositories.retention import Rules
from slipway.views import StrictSerializer

PLANNED_MAX = 1000
"""Tags and manifests named in a dry run."""


class RetentionOut(serializers.Serializer):
    keep_last = serializers.IntegerField(allow_null=True, help_text="So many of the newest tags are kept.")
    keep_days = serializers.IntegerField(allow_null=True, help_text="And those set within so many days.")
    keep_patterns = serializers.ListField(child=serializers.CharField(), help_text="And those like these.")
    keep_deployed = serializers.BooleanField(help_text="And those that containers are made from.")
    untagged_days = serializers.IntegerField(
        allow_null=True, help_text="Manifests without a tag go after so many days."
    )


class RetentionIn(StrictSerializer):
    keep_last = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=0, max_value=100_000
    )
    keep_days = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=0, max_value=36_500
    )
    keep_patterns = serializers.ListField(
        child=serializers.CharField(max_length=128), required=False, default=list, max_length=20
    )
    keep_deployed = serializers.BooleanField(required=False, default=True)
    untagged_days = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=0, max_value=36_500
    )


class VerdictOut(serializers.Serializer):
    tag = serializers.CharField(source="tag.name")
    digest = serializers.CharField(source="tag.digest")
    updated_at = serializers.DateTimeField(source="tag.updated_at")
    kept = serializers.BooleanField()
    reason = serializers.CharField()


class PlanOut(serializers.Serializer):
    tags = serializers.SerializerMethodField(
        help_text=f"The newest first. Of more than {PLANNED_MAX}, as many, and first those that would go."
    )
    tag_count = serializers.SerializerMethodField(help_text="Of all tags.")
    going_count = serializers.SerializerMethodField(help_text="Of the tags that would go.")
    manifests = serializers.SerializerMethodField(
        help_text=f"Digests of the first {PLANNED_MAX} that would go."
    )
    manifest_count = serializers.SerializerMethodField(help_text="Of all that would go.")
    freed_bytes = serializers.IntegerField(source="freed")

    @extend_schema_field(VerdictOut(many=True))
    def get_tags(self, plan: Plan) -> Any:
        verdicts = list(plan.verdicts)
        if len(verdicts) > PLANNED_MAX:
            verdicts.sort(key=lambda verdict: verdict.kept)
        return VerdictOut(verdicts[:PLANNED_MAX], many=True).data

    def get_tag_count(self, plan: Plan) -> int:
        return len(plan.verdicts)

    def get_going_count(self, plan: Plan) -> int:
        return len(plan.tags)

    def get_manifests(self, plan: Plan) -> list[str]:
        return [manifest.digest for manifest in plan.manifests[:PLANNED_MAX]]

    def get_manifest_count(self, plan: Plan) -> int:
        return len(plan.manifests)


def rules_of(asked: dict[str, Any]) -> Rules:
    """A validated ``RetentionIn``."""
    return Rules(**{**asked, "keep_patterns": tuple(asked["keep_patterns"])})
