"""What people type about quotas."""

from __future__ import annotations

from django import forms

from slipway.console.figures import cpu_text, parse_cpu, parse_size, size_text
from slipway.projects.models import Resource

BYTES = frozenset({Resource.MEMORY, Resource.DISK, Resource.REGISTRY})


def amount_text(resource: str, amount: int | None) -> str:
    """As people read it: 2 GiB, 1.5 CPUs, 12."""
    if amount is None:
        return "no limit"
    if resource in BYTES:
        return size_text(amount)
    return cpu_text(amount) if resource == Resource.CPU else str(amount)


class QuotaForm(forms.Form):
    resource = forms.ChoiceField(
        label="Of what", choices=Resource.choices, widget=forms.Select(attrs={"class": "form-select"})
    )
    amount = forms.CharField(
        label="New limit",
        max_length=20,
        help_text="A number; for memory and disk with its unit (64 GiB), for CPU in cores.",
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
    )
    reason = forms.CharField(
        label="What for",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"class": "form-control", "rows": 2}),
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, label_suffix="", **kwargs)  # type: ignore[misc, arg-type]  # passed on as they are

    def clean(self) -> dict[str, object]:
        asked: dict[str, object] = super().clean() or {}
        resource, text = asked.get("resource"), asked.get("amount")
        if not isinstance(resource, str) or not isinstance(text, str):
            return asked
        try:
            asked["amount"] = _parsed(resource, text)
        except ValueError as error:
            self.add_error("amount", str(error))
        return asked


def _parsed(resource: str, text: str) -> int:
    """Raise ``ValueError`` with a sentence."""
    if resource in BYTES:
        return int(parse_size(text))
    if resource == Resource.CPU:
        return int(parse_cpu(text))
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ValueError("A whole number is needed.")
    return int(text)
