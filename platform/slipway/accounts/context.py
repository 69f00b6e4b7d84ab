"""What every template may know about getting in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def entrance(request: HttpRequest) -> dict[str, Any]:
    """Context processor; asks no database."""
    return {
        "signup_mode": settings.SLIPWAY_SIGNUP,
        "sends_mail": settings.SLIPWAY_MAIL.sends,
        "sso_name": settings.SLIPWAY_OIDC.name,
    }
