"""Mail we write ourselves; the codes are allauth's."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import structlog
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse

from slipway.accounts.models import Invitation

log = structlog.get_logger(__name__)


def link_of(request: HttpRequest | Any, secret: str) -> str:
    """The secret is a parameter, not part of the path: paths are logged."""
    return f"{request.build_absolute_uri(reverse('invitation-open'))}?token={quote(secret)}"


def send_invitation(invitation: Invitation, link: str) -> None:
    """To the address of the invitation, if it has one, on commit. A mail that cannot leave is logged: whoever
    made the invitation has the link."""
    if not invitation.email:
        return
    where = invitation.project.path if invitation.project else invitation.team.slug
    inviter = invitation.created_by.get_full_name() if invitation.created_by else "An administrator"
    letter = EmailMessage(
        f"[Slipway] You are invited to {where}",
        f"{inviter} invites you to {where} as {invitation.role}.\n\n{link}\n\n"
        f"The link works once, until {invitation.expires_at:%d %B %Y %H:%M} UTC.\n"
        "If you do not know what this is about, ignore it.\n",
        to=[invitation.email],
    )
    transaction.on_commit(lambda: _send(letter, invitation))


def _send(letter: EmailMessage, invitation: Invitation) -> None:
    try:
        letter.send()
    except OSError as error:  # smtplib's errors are such, too
        log.warning("invitation_not_sent", invitation=invitation.hex, error=str(error))
