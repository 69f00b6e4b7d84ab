"""Forms of templates: the one made from its fields, to run one, and the one that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from slipway.console.figures import parse_size, size_text
from slipway.console.forms import Styled
from slipway.projects.models import Project
from slipway.templates.fields import ALPHABETS, CHOICE, KINDS, LENGTH, SECRET, Field
from slipway.templates.models import Template
from slipway.templates.services import ICONS, Draft

_PLAIN = {"autocomplete": "off", "spellcheck": "false"}
_MONO = _PLAIN | {"class": "form-control mono", "autocapitalize": "off"}
BLANK_FIELDS = 3


class TemplateRunForm(Styled):
    """Where to run it, how to call it, and the template's own fields as ``v-<name>``."""

    project = forms.ChoiceField(label="Project")
    name = forms.CharField(
        label="Container name",
        max_length=64,
        required=False,
        help_text="Empty: two words are chosen.",
        widget=forms.TextInput(attrs=_MONO),
    )

    def __init__(
        self, *args: Any, projects: Sequence[Project], fields: Sequence[Field], **kwargs: Any
    ) -> None:
        self._template_fields = tuple(fields)
        super().__init__(*args, **kwargs)
        chosen = self.fields["project"]
        if isinstance(chosen, forms.ChoiceField):
            chosen.choices = [(project.path, project.path) for project in projects]
        for field in self._template_fields:
            self.fields[f"v-{field.name}"] = _field(field)

    @property
    def own(self) -> list[forms.BoundField]:
        """The template's."""
        return [self[f"v-{field.name}"] for field in self._template_fields]

    def values(self) -> dict[str, str]:
        """Call on a valid form."""
        given = {field.name: self.cleaned_data[f"v-{field.name}"] for field in self._template_fields}
        # A number that was not given is None, a switch is a bool.
        return {name: _said(value) for name, value in given.items() if value not in (None, "")}


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field(field: Field) -> forms.Field:
    shown: dict[str, Any] = {
        "label": field.label,
        "help_text": field.help,
        "required": field.required and field.kind != SECRET,
        "initial": field.default,
    }
    match field.kind:
        case "switch":
            box = forms.CheckboxInput(attrs={"class": "form-check-input"})
            return forms.BooleanField(
                **shown | {"required": False, "initial": field.default == "true"}, widget=box
            )
        case "choice":
            choices = [(each, each) for each in field.choices]
            return forms.ChoiceField(
                **shown,
                choices=choices if field.required else [("", "—"), *choices],
                widget=forms.Select(attrs={"class": "form-select"}),
            )
        case "secret":
            made = f"Empty: {field.length} characters are made up and shown once."
            hint = f"{field.help} {made}".strip()
            widget = forms.TextInput(attrs=_MONO | {"autocomplete": "new-password"})
            return forms.CharField(**shown | {"help_text": hint}, strip=False, max_length=4096, widget=widget)
        case "number":
            return forms.IntegerField(
                **shown, widget=forms.NumberInput(attrs={"class": "form-control"} | _PLAIN)
            )
    return forms.CharField(**shown, strip=False, max_length=4096, widget=forms.TextInput(attrs=_MONO))


# --------------------------------------------------------------------------- making one


class TemplateForm(Styled):
    slug = forms.CharField(
        label="Short name",
        max_length=60,
        help_text="Part of its address.",
        widget=forms.TextInput(attrs=_MONO),
    )
    name = forms.CharField(label="Title", max_length=100)
    category = forms.CharField(label="Category", max_length=40, required=False)
    icon = forms.ChoiceField(label="Icon", choices=[(each, each) for each in ICONS])
    description = forms.CharField(
        label="Description", max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    image = forms.CharField(
        label="Image",
        max_length=400,
        help_text="A name every project can resolve, such as one of the library's.",
        widget=forms.TextInput(attrs=_MONO),
    )
    entrypoint = forms.CharField(label="Entrypoint", required=False, widget=forms.TextInput(attrs=_MONO))
    command = forms.CharField(
        label="Command",
        required=False,
        help_text="As you would type it in a shell. Empty: what the image says.",
        widget=forms.Textarea(attrs=_MONO | {"rows": 2}),
    )
    memory = forms.CharField(label="Memory", max_length=20, required=False, help_text="Empty: the usual.")
    ports = forms.CharField(
        label="Ports",
        required=False,
        help_text="One a line: 6379/tcp and what it is. They are told; nothing is published yet.",
        widget=forms.Textarea(attrs=_MONO | {"rows": 2}),
    )
    volumes = forms.CharField(
        label="Volumes",
        required=False,
        help_text="One a line: /data and what it is. They are told; nothing is mounted yet.",
        widget=forms.Textarea(attrs=_MONO | {"rows": 2}),
    )

    NAMES = {"memory_bytes": "memory"}

    def clean_command(self) -> tuple[str, ...] | None:
        return _words(self.cleaned_data["command"])

    def clean_entrypoint(self) -> tuple[str, ...] | None:
        return _words(self.cleaned_data["entrypoint"])

    def clean_memory(self) -> int | None:
        text = self.cleaned_data["memory"]
        try:
            return parse_size(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_ports(self) -> tuple[dict[str, Any], ...]:
        return tuple(_port(line) for line in _lines(self.cleaned_data["ports"]))

    def clean_volumes(self) -> tuple[dict[str, Any], ...]:
        return tuple(_volume(line) for line in _lines(self.cleaned_data["volumes"]))

    def draft(self, fields: Sequence[Mapping[str, Any]]) -> Draft:
        """Call on a valid form."""
        said = self.cleaned_data
        plain = ("slug", "name", "category", "icon", "description", "image", "entrypoint", "command")
        return Draft(
            **{name: said[name] for name in plain},
            ports=said["ports"],
            volumes=said["volumes"],
            memory_bytes=said["memory"],
            fields=tuple(fields),
        )


class TemplateFieldForm(Styled):
    """One of the fields; one without a variable does not count."""

    name = forms.CharField(
        label="Variable", max_length=100, required=False, widget=forms.TextInput(attrs=_MONO)
    )
    label = forms.CharField(label="Label", max_length=100, required=False)
    kind = forms.ChoiceField(label="Kind", choices=[(each, each) for each in KINDS])
    default = forms.CharField(label="Default", max_length=4096, required=False, strip=False)
    help = forms.CharField(label="Hint", max_length=300, required=False)
    choices = forms.CharField(label="Choices", required=False, help_text="With commas between.")
    length = forms.IntegerField(label="Length of a secret", initial=LENGTH, required=False)
    alphabet = forms.ChoiceField(label="Made of", choices=[(each, each) for each in ALPHABETS])
    required = forms.BooleanField(label="Must be filled in", required=False)

    def stored(self) -> dict[str, Any]:
        """Call on a valid form."""
        said = self.cleaned_data
        choices = [each.strip() for each in said["choices"].split(",") if each.strip()]
        return {
            **{name: said[name] for name in ("name", "kind", "default", "help", "alphabet", "required")},
            "label": said["label"] or said["name"],
            "choices": choices if said["kind"] == CHOICE else [],
            "length": said["length"] or LENGTH,
        }


FieldForms = forms.formset_factory(TemplateFieldForm, extra=BLANK_FIELDS, max_num=40)


def initial_of(template: Template) -> dict[str, Any]:
    """What the form shows of a template there is."""
    plain = ("slug", "name", "category", "icon", "description", "image")
    return {
        **{name: getattr(template, name) for name in plain},
        "entrypoint": shlex.join(template.entrypoint or []),
        "command": shlex.join(template.command or []),
        "memory": size_text(template.memory_bytes) if template.memory_bytes else "",
        "ports": "\n".join(map(_port_line, template.ports)),
        "volumes": "\n".join(map(_volume_line, template.volumes)),
    }


def _port_line(port: Mapping[str, Any]) -> str:
    return f"{port['container']}/{port['protocol']} {port.get('description', '')}".strip()


def _volume_line(volume: Mapping[str, Any]) -> str:
    return f"{volume['path']} {volume.get('description', '')}".strip()


def initial_fields(fields: Sequence[Field]) -> list[dict[str, Any]]:
    return [field.stored() | {"choices": ", ".join(field.choices)} for field in fields]


def _words(text: str) -> tuple[str, ...] | None:
    try:
        return tuple(shlex.split(text)) or None
    except ValueError as error:
        raise forms.ValidationError(f"A quote or backslash is not closed ({str(error).lower()}).") from error


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _port(line: str) -> dict[str, Any]:
    where, _, description = line.partition(" ")
    number, _, protocol = where.partition("/")
    if not number.isdigit():
        raise forms.ValidationError(f"{line[:60]!r}: a number is needed first, as in 6379/tcp.")
    return {"container": int(number), "protocol": protocol or "tcp", "description": description.strip()[:100]}


def _volume(line: str) -> dict[str, Any]:
    path, _, description = line.partition(" ")
    return {"path": path, "description": description.strip()[:100]}
