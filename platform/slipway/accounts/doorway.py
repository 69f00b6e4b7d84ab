"""An opened invitation waits in the session while its holder signs in or up."""

from __future__ import annotations

from django.http import HttpRequest

from slipway.accounts.models import Invitation

_KEY = "slipway_invitation"


def stash_invitation(request: HttpRequest, invitation: Invitation) -> None:
    """The row's id, not the secret: what the session holds opens nothing by itself."""
    request.session[_KEY] = invitation.hex


def find_stashed_invitation(request: HttpRequest | None) -> Invitation | None:
    """The invitation opened in this session, if it is still good."""
    key = request.session.get(_KEY) if request is not None and hasattr(request, "session") else None
    if not key:
        return None
    found = Invitation.objects.select_related("team", "project__team", "created_by").filter(pk=key).first()
    return found if found is not None and found.is_open else None


def drop_invitation(request: HttpRequest) -> None:
    request.session.pop(_KEY, None)
