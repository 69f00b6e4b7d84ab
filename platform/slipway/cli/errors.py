"""What can go wrong, as one sentence with a code, what to do about it, and the process's exit code."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of every command; `run` has the container's instead, and 125 for all of ours."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 5
    RUN_FAILED = 125
    INTERRUPTED = 130


_HINTS = {
    "AUTHENTICATION_REQUIRED": "Sign in with `slipway login URL`.",
    "TOKEN_INVALID": "Sign in again with `slipway login URL`.",
    "TOKEN_EXPIRED": "Make a new token in the console and sign in with `slipway login URL`.",
    "TOKEN_REVOKED": "Make a new token in the console and sign in with `slipway login URL`.",
    "CONTAINER_UNKNOWN": "`slipway ps -a` lists the containers.",
    "CONTAINER_RUNNING": "Stop it first, or remove it with `slipway rm -f`.",
    "IMAGE_UNKNOWN": "`slipway images` lists what is there; `slipway pull` fetches one.",
    "NODE_UNREACHABLE": "`slipway doctor` tells more.",
}


class CliError(Exception):
    """Shown to the user as it is; never a traceback."""

    def __init__(
        self, message: str, *, code: str = "ERROR", hint: str = "", exit_code: int = Exit.ERROR
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.exit_code = int(exit_code)

    def sentence(self) -> str:
        return " ".join(filter(None, [self.message, f"({self.code})", self.hint]))

    def document(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "hint": self.hint, "exit_code": self.exit_code}


class Problem(CliError):
    """The server refused, with a problem document or something like it."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        self.status = status
        self.problem = document
        code = str(document.get("code") or f"HTTP_{status}")
        super().__init__(
            str(document.get("detail") or document.get("title") or f"The server answered {status}."),
            code=code,
            hint=_HINTS.get(code, ""),
            exit_code=_EXITS.get(status, Exit.ERROR),
        )

    def document(self) -> dict[str, Any]:
        return super().document() | {"problem": self.problem}


_EXITS = {401: Exit.NOT_ALLOWED, 403: Exit.NOT_ALLOWED, 404: Exit.NOT_FOUND, 410: Exit.NOT_FOUND}


class Unreachable(CliError):
    """Nobody answered, or the connection broke before the answer was complete."""

    def __init__(self, message: str, hint: str = "") -> None:
        hint = hint or "Check the address with `slipway contexts`, and that the server runs."
        super().__init__(message, code="SERVER_UNREACHABLE", hint=hint, exit_code=Exit.UNREACHABLE)


class NotSignedIn(CliError):
    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            code="NOT_SIGNED_IN",
            hint="Sign in with `slipway login URL`.",
            exit_code=Exit.NOT_ALLOWED,
        )


class Misused(CliError):
    """The command line cannot be meant as it is."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, code="USAGE", hint=hint, exit_code=Exit.USAGE)
