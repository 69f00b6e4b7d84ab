"""What people type, parsed to what services take. Rules live in the services; these only read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from django import forms
from django.utils import timezone

from slipway.accounts.models import Team, TokenScope
from slipway.console.figures import cpu_text, parse_cpu, parse_size, size_text
from slipway.containers.requests import ContainerRequest
from slipway.projects.models import Project
from workers.errors import SlipwayError
from workers.messages import Limits


def blame(form: forms.Form, error: SlipwayError, fields: dict[str, str] | None = None) -> None:
    """Show ``error`` at the field it names (``fields`` translates names), else above the form."""
    named = str(error.facts.get("field") or ("name" if error.code == "NAME_TAKEN" else ""))
    named = (fields or {}).get(named, named)
    form.add_error(named if named in form.fields else None, _said(error))


def _said(error: SlipwayError) -> str:
    """The error's own sentence; a limit is told in the units it was typed in."""
    high = error.facts.get("high")
    if error.code != "LIMIT_TOO_HIGH" or not isinstance(high, int):
        return error.message
    units = {"memory_bytes": size_text, "cpu_millis": cpu_text}
    told = units.get(str(error.facts.get("field")), str)(high)
    return f"More than the {told} this project allows one container."


class Styled(forms.Form):
    """Tabler's classes, and the tie from each field to its hint and its error for screen readers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "label_suffix": ""})
        for field in self.fields.values():
            widget = field.widget
            if isinstance(widget, forms.CheckboxInput):
                widget.attrs.setdefault("class", "form-check-input")
            elif isinstance(widget, forms.Select):
                widget.attrs.setdefault("class", "form-select")
            else:
                widget.attrs.setdefault("class", "form-control")


class TeamForm(Styled):
    slug = forms.CharField(
        label="Name",
        max_length=60,
        help_text="2 to 30 lower-case letters, digits and single hyphens; part of addresses.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autofocus": True}),
    )
    name = forms.CharField(
        label="Title", max_length=100, required=False, help_text="As people should read it; optional."
    )


class ProjectForm(TeamForm):
    """Without a team to choose, the name of a new one is asked for instead."""

    field_order = ["team", "new_team", "slug", "name"]

    def __init__(self, *args: Any, teams: Sequence[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if teams:
            choices = [
                (team.slug, team.name if team.name == team.slug else f"{team.name} ({team.slug})")
                for team in teams
            ]
            self.fields["team"] = forms.ChoiceField(
                label="Team", choices=choices, widget=forms.Select(attrs={"class": "form-select"})
            )
        else:
            self.fields["new_team"] = forms.CharField(
                label="Team",
                max_length=60,
                help_text="You have none yet: this makes one, with you as its owner.",
                widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
            )
        self.order_fields(self.field_order)


class TokenForm(Styled):
    name = forms.CharField(
        label="Name",
        max_length=100,
        help_text="What will use it: a laptop, a pipeline.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scope = forms.ChoiceField(label="May", choices=TokenScope.choices, initial=TokenScope.WRITE)
    project = forms.ChoiceField(label="Opens", required=False)
    days = forms.ChoiceField(
        label="Expires",
        choices=[("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("", "never")],
        initial="90",
        required=False,
    )

    def __init__(self, *args: Any, projects: Sequence[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = cast(forms.ChoiceField, self.fields["project"])
        chosen.choices = [
            ("", "everything you can see"),
            *((project.hex, f"only {project.path}") for project in projects),
        ]

    def expiry(self) -> Any:
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=int(days)) if days else None


def _mono(**attrs: Any) -> dict[str, Any]:
    return {
        "class": "form-control mono",
        "autocomplete": "off",
        "autocapitalize": "off",
        "spellcheck": "false",
    } | attrs


class RunForm(Styled):
    image = forms.CharField(
        label="Image",
        max_length=400,
        widget=forms.TextInput(attrs=_mono(list="image-names", placeholder="busybox:latest")),
    )
    command = forms.CharField(
        label="Command",
        required=False,
        strip=False,
        help_text="As you would type it in a shell; quotes group words. Empty: what the image says.",
        widget=forms.Textarea(attrs=_mono(rows=2, placeholder="sh -c 'echo hello; sleep 60'")),
    )
    name = forms.CharField(
        label="Container name",
        max_length=64,
        required=False,
        help_text="Empty: two words are chosen.",
        widget=forms.TextInput(attrs=_mono(placeholder="brisk_harbour")),
    )
    env = forms.CharField(
        label="Environment",
        required=False,
        strip=False,
        help_text="One NAME=value a line, added to the image's.",
        widget=forms.Textarea(attrs=_mono(rows=3, placeholder="LOG_LEVEL=info")),
    )
    memory = forms.CharField(
        label="Memory", max_length=20, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    cpu = forms.CharField(
        label="CPU",
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    pids = forms.IntegerField(
        label="Processes", min_value=1, widget=forms.NumberInput(attrs={"autocomplete": "off"})
    )
    entrypoint = forms.CharField(
        label="Entrypoint",
        required=False,
        help_text="Replaces the image's.",
        widget=forms.TextInput(attrs=_mono()),
    )
    working_dir = forms.CharField(
        label="Working directory", required=False, widget=forms.TextInput(attrs=_mono(placeholder="/"))
    )
    user = forms.CharField(
        label="User",
        required=False,
        help_text="A name or number in the image; root there is nobody on the node.",
        widget=forms.TextInput(attrs=_mono(placeholder="root")),
    )
    read_only = forms.BooleanField(label="Read-only root file system", required=False)
    start = forms.BooleanField(label="Start it now", required=False, initial=True)

    ADVANCED = ("entrypoint", "working_dir", "user", "read_only")
    NAMES = {"memory_bytes": "memory", "cpu_millis": "cpu", "reference": "image"}
    """What the services call them: what they are called here."""

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        usual = Limits()
        defaults = {
            "memory": f"{min(usual.memory_bytes, project.memory_bytes_max) >> 20} MiB",
            "cpu": f"{min(usual.cpu_millis, project.cpu_millis_max) / 1000:g}",
            "pids": min(usual.pids, project.pids_max),
            "start": True,
        }
        super().__init__(*args, initial=defaults | kwargs.pop("initial", {}), **kwargs)

    @property
    def advanced_is_open(self) -> bool:
        return any(self[name].errors or self[name].value() for name in self.ADVANCED)

    @property
    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name in self.ADVANCED]

    def clean_command(self) -> tuple[str, ...] | None:
        return _words(self.cleaned_data["command"])

    def clean_entrypoint(self) -> tuple[str, ...] | None:
        return _words(self.cleaned_data["entrypoint"])

    def clean_env(self) -> tuple[str, ...]:
        lines = self.cleaned_data["env"].replace("\r\n", "\n").split("\n")
        return tuple(line for line in lines if line.strip())

    def clean_memory(self) -> int:
        return _parsed(parse_size, self.cleaned_data["memory"])

    def clean_cpu(self) -> int:
        return _parsed(parse_cpu, self.cleaned_data["cpu"])

    def request(self) -> ContainerRequest:
        """What was asked for; call on a valid form."""
        asked = self.cleaned_data
        return ContainerRequest(
            image=asked["image"],
            name=asked["name"] or None,
            entrypoint=asked["entrypoint"],
            command=asked["command"],
            env=asked["env"],
            working_dir=asked["working_dir"] or None,
            user=asked["user"] or None,
            read_only=asked["read_only"],
            memory_bytes=asked["memory"],
            cpu_millis=asked["cpu"],
            pids=asked["pids"],
            start=asked["start"],
        )


def _words(text: str) -> tuple[str, ...] | None:
    try:
        words = shlex.split(text.replace("\r\n", "\n"))
    except ValueError as error:
        raise forms.ValidationError(f"A quote or backslash is not closed ({str(error).lower()}).") from error
    return tuple(words) or None


def _parsed(parse: Any, text: str) -> int:
    try:
        return int(parse(text))
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
