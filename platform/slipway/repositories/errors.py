"""What can be wrong with repositories and what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.accounts.errors import NotFound
from workers.errors import UserError


class NoSuchRepository(NotFound):
    """Unknown and forbidden alike."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no repository {path[:200]!r} that you can see.")


class NoSuchManifest(UserError):
    code = "MANIFEST_UNKNOWN"

    def __init__(self, path: str, reference: str) -> None:
        super().__init__(f"{path} has no manifest {reference[:160]!r}.", reference=reference[:160])


class NoSuchUpload(UserError):
    code = "BLOB_UPLOAD_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("There is no such upload here; it has ended or expired. Begin a new one.")


class OutOfOrder(UserError):
    """A chunk that does not begin where the upload ends."""

    code = "RANGE_INVALID"

    def __init__(self, offset: int, given: str) -> None:
        super().__init__(
            f"The next chunk begins at byte {offset}; this one said {given[:60]!r}.", offset=offset
        )
        self.offset = offset


class WrongSize(UserError):
    """As many bytes as were announced did not come."""

    code = "SIZE_INVALID"


class MissingBlobs(UserError):
    """A manifest names blobs or manifests that its repository does not have."""

    code = "MANIFEST_BLOB_UNKNOWN"

    def __init__(self, path: str, digests: Sequence[str]) -> None:
        more = f" and {len(digests) - 1} more" if len(digests) > 1 else ""
        super().__init__(
            f"{path} has no {digests[0]}{more}, which the manifest names; push it there first.",
            missing=len(digests),
        )
        self.digests = tuple(digests)


class ManifestTooLarge(UserError):
    code = "MANIFEST_TOO_LARGE"


class TagImmutable(UserError):
    """The repository's rules let the tag be set once."""

    code = "TAG_IMMUTABLE"


class BlobInUse(UserError):
    code = "BLOB_IN_USE"


class ManifestInUse(UserError):
    """An index names it."""

    code = "MANIFEST_IN_USE"


class InsufficientGrant(UserError):
    """The bearer token does not say enough, but its holder would be given one that does."""

    code = "INSUFFICIENT_SCOPE"
