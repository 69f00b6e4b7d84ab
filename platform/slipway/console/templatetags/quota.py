"""Amounts of quota as people read them."""

from __future__ import annotations

from django import template

from slipway.console.quota_forms import amount_text

register = template.Library()


@register.simple_tag
def amount(resource: str, value: int | None) -> str:
    return amount_text(str(resource), value)
