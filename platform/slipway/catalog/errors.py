"""What can be wrong with an image, beyond ``workers.errors.NoSuchImage`` and ``InvalidReference``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from workers.errors import UserError

NAMED_MAX = 20


class Used(Protocol):
    """As ``catalog.uses.Use``."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...


class ImageInUse(UserError):
    """The facts count what uses it by kind, and name the first of them."""

    code = "IMAGE_IN_USE"

    def __init__(self, uses: Sequence[Used]) -> None:
        names = [f"{use.kind} {use.name!r}" for use in uses[:NAMED_MAX]]
        more = f" and {len(uses) - NAMED_MAX} more" if len(uses) > NAMED_MAX else ""
        counts = Counter("pushes" if use.kind == "push" else f"{use.kind}s" for use in uses)
        super().__init__(
            f"The image is in use by {', '.join(names)}{more}; remove or end what uses it first.",
            used_by=", ".join(f"{use.kind} {use.name}" for use in uses[:NAMED_MAX]),
            **counts,
        )


class AmbiguousImage(UserError):
    """A short id fits more than one image."""

    code = "IMAGE_AMBIGUOUS"


class NoSuchRecipe(UserError):
    code = "RECIPE_UNKNOWN"
