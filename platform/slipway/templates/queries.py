"""Reads: every signed-in user may look at templates."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.models import TokenScope
from slipway.templates.fields import Field, parse_fields
from slipway.templates.models import Template


def list_templates(actor: Actor, *, query: str = "", category: str = "") -> QuerySet[Template]:
    """Those whose name, description, image or category has every word of ``query``."""
    found = Template.objects.all()
    if category:
        found = found.filter(category=category)
    for word in query.split()[:10]:
        found = found.filter(
            Q(name__icontains=word)
            | Q(slug__icontains=word)
            | Q(description__icontains=word)
            | Q(image__icontains=word)
            | Q(category__icontains=word)
        )
    return found.order_by("category", "name", "slug")


def get_template(actor: Actor, slug: str) -> Template:
    """Raise ``NotFound``."""
    found = Template.objects.filter(slug=slug).first()
    if found is None:
        raise NotFound(f"There is no template {slug[:60]!r}.")
    return found


def fields_of(template: Template) -> tuple[Field, ...]:
    return parse_fields(template.fields)


def may_edit(actor: Actor) -> bool:
    """Administrators, in person or by a token that may administer and is bound to no project."""
    token = actor.token
    return actor.is_administrator and (
        token is None or (TokenScope.ADMIN in token.scopes and token.project_id is None)
    )
