"""What is typed on a repository's settings."""

from __future__ import annotations

from typing import Any

from django import forms

from slipway.console.forms import Styled
from slipway.repositories.models import Repository, Visibility
from slipway.repositories.retention import Rules
from slipway.repositories.services import README_MAX

_MONO = {"class": "form-control mono", "autocomplete": "off", "spellcheck": "false"}


class VisibilityForm(Styled):
    visibility = forms.ChoiceField(
        choices=[
            (Visibility.PRIVATE, "Private: who may look at the project"),
            (Visibility.TEAM, "Team: everybody in the team"),
            (Visibility.PUBLIC, "Public: everybody, signed in or not"),
        ]
    )
    confirm = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any] | None:
        said = self.cleaned_data
        if said.get("visibility") == Visibility.PUBLIC and not said.get("confirm"):
            self.add_error("confirm", "Confirm that everybody may see and pull what is in it.")
        return said


class ReadmeForm(Styled):
    readme = forms.CharField(
        label="Readme",
        required=False,
        strip=False,
        max_length=README_MAX,
        help_text="Markdown. Images become links.",
        widget=forms.Textarea(attrs=_MONO | {"rows": 10}),
    )


class RulesForm(Styled):
    immutable = forms.CharField(
        label="Immutable tags",
        required=False,
        help_text="Patterns with spaces between, as in v*: such a tag is set once.",
        widget=forms.TextInput(attrs=_MONO),
    )
    keep_last = forms.IntegerField(label="Keep the newest", required=False, min_value=0, max_value=100_000)
    keep_days = forms.IntegerField(
        label="Keep those set within days", required=False, min_value=0, max_value=36_500
    )
    keep_patterns = forms.CharField(
        label="Keep those like",
        required=False,
        help_text="Patterns with spaces between, as in release-*.",
        widget=forms.TextInput(attrs=_MONO),
    )
    keep_deployed = forms.BooleanField(label="Keep those that containers are made from", required=False)
    untagged_days = forms.IntegerField(
        label="Days until manifests without a tag go",
        required=False,
        min_value=0,
        max_value=36_500,
        help_text="Empty: they stay.",
    )

    def rules(self) -> Rules:
        """Call on a valid form."""
        said = self.cleaned_data
        numbers = {name: said[name] for name in ("keep_last", "keep_days", "untagged_days")}
        patterns = tuple(said["keep_patterns"].split())
        return Rules(**numbers, keep_patterns=patterns, keep_deployed=said["keep_deployed"])

    def immutable_tags(self) -> list[str]:
        return list(self.cleaned_data["immutable"].split())


def initial_rules(repository: Repository) -> dict[str, Any]:
    rules = Rules.parse(repository.retention)
    return {
        "immutable": " ".join(repository.immutable_tags),
        "keep_last": rules.keep_last,
        "keep_days": rules.keep_days,
        "keep_patterns": " ".join(rules.keep_patterns),
        "keep_deployed": rules.keep_deployed,
        "untagged_days": rules.untagged_days,
    }
