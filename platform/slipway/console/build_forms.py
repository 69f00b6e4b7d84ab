"""The form of a new build: a Dockerfile's text or a repository. Archives go to the REST door."""

from __future__ import annotations

from typing import Any

from django import forms

from slipway.builds.requests import BuildRequest, Docker
from slipway.console.forms import Styled
from workers.messages import BuildOptions, BuildSource

EXAMPLE = 'FROM busybox\nRUN echo hello > /hello\nCMD ["cat", "/hello"]\n'
SOURCES = (
    ("none", "Write a Dockerfile"),
    ("git", "A git repository"),
    ("upload", "Upload a folder's archive"),
)


def _mono(placeholder: str = "", **more: Any) -> forms.TextInput:
    plain = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
    return forms.TextInput(attrs={"class": "form-control mono", "placeholder": placeholder, **plain, **more})


def _area(rows: int, placeholder: str = "") -> forms.Textarea:
    attrs = {"class": "form-control mono", "rows": rows, "spellcheck": "false", "placeholder": placeholder}
    return forms.Textarea(attrs=attrs)


class BuildForm(Styled):
    source = forms.ChoiceField(
        choices=SOURCES, widget=forms.RadioSelect(attrs={"class": "form-check-input"}), initial="none"
    )
    dockerfile_text = forms.CharField(
        label="Dockerfile", required=False, strip=False, initial=EXAMPLE, widget=_area(14)
    )
    remote = forms.CharField(
        label="Repository", required=False, max_length=2000, widget=_mono("https://github.com/acme/web.git")
    )
    ref = forms.CharField(label="Branch, tag or commit", required=False, max_length=255, widget=_mono("main"))
    subdirectory = forms.CharField(
        label="Directory", required=False, max_length=1000, widget=_mono("services/web")
    )
    username = forms.CharField(label="User name", required=False, max_length=255, widget=_mono())
    password = forms.CharField(
        label="Password or token",
        required=False,
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Kept sealed until the build has ended. An account of the project for this host is used "
        "when this is empty.",
    )
    dockerfile = forms.CharField(
        label="Dockerfile in it",
        required=False,
        initial="Dockerfile",
        max_length=1000,
        widget=_mono("Dockerfile"),
    )
    tags = forms.CharField(
        label="Names",
        required=False,
        max_length=2000,
        widget=_mono("web:latest"),
        help_text="name:tag; several with spaces between. Without one the image is found by its id.",
    )
    target = forms.CharField(
        label="Stage", required=False, max_length=160, widget=_mono(), help_text="Empty: the last one."
    )
    args = forms.CharField(
        label="Build arguments",
        required=False,
        strip=False,
        widget=_area(2, "VERSION=1.2"),
        help_text="NAME=value, one a line. They stay readable in the image's history.",
    )
    secrets = forms.CharField(
        label="Secrets",
        required=False,
        strip=False,
        widget=_area(2, "npm_token=…"),
        help_text="id=value, one a line, for RUN --mount=type=secret,id=…. Dropped when the build has ended.",
    )
    no_cache = forms.BooleanField(label="Do every step anew, without the cache", required=False)
    pull = forms.BooleanField(label="Ask registries for newer base images", required=False)
    platform = forms.CharField(
        label="Platform",
        required=False,
        max_length=60,
        widget=_mono("linux/amd64"),
        help_text="Empty: the node's.",
    )
    group = forms.CharField(
        label="Group",
        required=False,
        max_length=160,
        widget=_mono("web@main"),
        help_text="Of a group one build runs at a time, and a new one takes the place of those that wait.",
    )
    memory = forms.IntegerField(
        label="Memory in MiB",
        required=False,
        min_value=4,
        max_value=1 << 20,
        help_text="Empty: 2048 or the limit.",
    )

    def clean_args(self) -> dict[str, str]:
        return _pairs(self.cleaned_data["args"], "VERSION=1.2")

    def clean_secrets(self) -> dict[str, str]:
        return _pairs(self.cleaned_data["secrets"], "npm_token=…")

    def wanted(self) -> BuildRequest:
        """What it asks for; call when it is valid."""
        asked = self.cleaned_data
        is_git = asked["source"] == "git"
        source = BuildSource()
        if is_git:
            source = BuildSource(
                kind="git",
                url=asked["remote"],
                **{name: asked[name] or None for name in ("ref", "subdirectory", "username", "password")},
            )
        options = BuildOptions(
            dockerfile=(asked["dockerfile"] if is_git else "") or "Dockerfile",
            dockerfile_text=None if is_git else asked["dockerfile_text"].replace("\r\n", "\n"),
            tags=tuple(asked["tags"].replace(",", " ").split()),
            target=asked["target"] or None,
            args=asked["args"],
            secrets=asked["secrets"],
            no_cache=asked["no_cache"],
            pull=asked["pull"],
            platform=asked["platform"] or None,
        )
        memory = asked["memory"] << 20 if asked["memory"] else None
        return BuildRequest(source, options, Docker(memory=memory), group=asked["group"])


def _pairs(text: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not name.strip():
            raise forms.ValidationError(f"{line[:60]!r}: a line like {example} is needed.")
        found[name.strip()] = value
    return found
