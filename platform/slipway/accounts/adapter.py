"""How people get in: our rules where allauth asks for them."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from slipway.accounts import sealing
from slipway.accounts.authentication import origin_of
from slipway.accounts.doorway import find_stashed_invitation
from slipway.accounts.models import User

USERNAME_VALIDATORS = [
    RegexValidator(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]$",
        "2 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit at both ends.",
    )
]


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """``SLIPWAY_SIGNUP``; by invitation only for who has opened one in this session."""
        if settings.SLIPWAY_SIGNUP == "invite":
            return find_stashed_invitation(request) is not None
        return bool(settings.SLIPWAY_SIGNUP == "open")

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """The invitation's link was sent to that address, and here it is."""
        invitation = find_stashed_invitation(request)
        if invitation is not None and invitation.email and invitation.email.lower() == email.lower():
            return True
        return bool(super().is_email_verified(request, email))

    def get_login_stages(self) -> list[str]:
        ours = {"allauth.account.stages.EmailVerificationStage": f"{__name__}.VerificationStage"}
        return [ours.get(stage, stage) for stage in super().get_login_stages()]

    def get_client_ip(self, request: HttpRequest) -> str:
        """The server has put the right one there behind a trusted proxy; no header is believed here."""
        return origin_of(request) or "127.0.0.1"


class VerificationStage(EmailVerificationStage):
    """Holds up the sign-in only where people sign up by themselves: their address is all we know of them."""

    def handle(self) -> tuple[HttpResponse | None, bool]:
        user = self.login.user
        if user is None:  # somebody tries an address that is taken, and is not told so
            taken: tuple[HttpResponse | None, bool] = super().handle()
            return taken
        # Accounts that an administrator made have no row there: somebody answers for them.
        claimed = EmailAddress.objects.filter(user=user).exists()
        if settings.SLIPWAY_SIGNUP != "open" or not claimed:
            return None, True
        answer: tuple[HttpResponse | None, bool] = super().handle()
        return answer


class MfaAdapter(DefaultMFAAdapter):
    """Authenticator secrets are encrypted with a key of their own, derived from the installation's."""

    def encrypt(self, text: str) -> str:
        return sealing.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return sealing.unseal(encrypted_text)

    def _get_site_name(self) -> str:
        return "Slipway"


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Whom the provider knows may have an account: who is let in there is decided there."""
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """An address alone takes over nobody's account: its owner links the two, signed in."""
        email = sociallogin.user.email
        if sociallogin.is_existing or request.user.is_authenticated or not email:
            return
        if User.objects.filter(email__iexact=email).exists():
            page = render(request, "socialaccount/address_taken.html", {"email": email}, status=409)
            raise ImmediateHttpResponse(page)
