"""What can be wrong with an image, beyond ``workers.errors.NoSuchImage`` and ``InvalidReference``."""

from __future__ import annotations

from workers.errors import UserError


class ImageInUse(UserError):
    code = "IMAGE_IN_USE"


class AmbiguousImage(UserError):
    """A short id fits more than one image."""

    code = "IMAGE_AMBIGUOUS"


class RegistryNotAllowed(UserError):
    """The administrators do not let images come from or go to that registry."""

    code = "REGISTRY_NOT_ALLOWED"


class NoSuchRecipe(UserError):
    code = "RECIPE_UNKNOWN"
