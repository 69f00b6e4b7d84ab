"""What can be wrong with who asks, and the answer for what does not exist for them."""

from __future__ import annotations

from workers.errors import UserError


class NotFound(UserError):
    """Unknown and forbidden look the same."""

    code = "NOT_FOUND"

    def __init__(self, message: str = "There is no such thing here, or you may not see it.") -> None:
        super().__init__(message)


class NotAllowed(UserError):
    """The actor may see the object but not do this to it."""

    code = "NOT_ALLOWED"


class ScopeMissing(NotAllowed):
    """The user may, but not with the token they used."""

    code = "SCOPE_MISSING"


class MfaRequired(NotAllowed):
    """The team asks its members for a second factor, and this one has none."""

    code = "MFA_REQUIRED"

    def __init__(self) -> None:
        super().__init__(
            "This team asks for a second factor. Set up an authenticator app or a passkey at /accounts/2fa/; "
            "your tokens work again then, too."
        )


class InvitationGone(UserError):
    """Unknown, used up, withdrawn and expired invitations are told apart only to who holds the link."""

    code = "INVITATION_GONE"


class NotEmpty(UserError):
    """What is to be deleted still holds something on a node; the facts count it."""

    code = "NOT_EMPTY"


class InvalidToken(UserError):
    code = "TOKEN_INVALID"


class ExpiredToken(UserError):
    code = "TOKEN_EXPIRED"


class RevokedToken(UserError):
    code = "TOKEN_REVOKED"


class InvalidName(UserError):
    code = "NAME_INVALID"


class NameTaken(UserError):
    code = "NAME_TAKEN"


class InvalidRequest(UserError):
    """A value outside what is allowed; the message names the field."""

    code = "VALUE_INVALID"
