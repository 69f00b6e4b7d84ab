"""Writes: manifests and tags."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from slipway.audit.services import record
from slipway.repositories import accounting, links
from slipway.repositories.access import Access, Verb, require_write
from slipway.repositories.documents import MAX_SIZE, Document, parse_manifest
from slipway.repositories.errors import (
    BlobInUse,
    ManifestInUse,
    ManifestTooLarge,
    MissingBlobs,
    NoSuchManifest,
    NoSuchRepository,
    TagImmutable,
)
from slipway.repositories.models import Blob, BlobLink, Manifest, ManifestBlob, ManifestChild, Repository, Tag
from slipway.repositories.names import parse_tag, sort_key
from slipway.repositories.queries import find_repository, get_blob, get_manifest, unique_bytes
from workers.errors import DigestMismatch, InvalidManifest
from workers.oci.descriptor import CONFIGS, Descriptor
from workers.oci.digest import Digest


def put_manifest(
    access: Access, path: str, reference: str, content: bytes, content_type: str = ""
) -> Manifest:
    """Keep ``content`` in the repository, byte for byte, under its digest and the tag ``reference`` may be.

    Everything it names must be in this repository. Safe to repeat. Raise ``NoSuchRepository``,
    ``NotAllowed``, ``InsufficientGrant``, ``InvalidRepositoryName``, ``InvalidTag``, ``InvalidManifest``,
    ``ManifestTooLarge``, ``DigestMismatch``, ``MissingBlobs``, ``TagImmutable``, ``QuotaExceeded``.
    """
    if len(content) > MAX_SIZE:
        raise ManifestTooLarge(f"A manifest has at most {MAX_SIZE} bytes; this one has {len(content)}.")
    digest, tag = _digest_and_tag(reference, content)
    with transaction.atomic():
        repository = links.ensure_repository(access, path)
        document = parse_manifest(content, content_type)
        links.lock(repository)
        if tag is not None:
            _require_settable(repository, tag, digest)
        blobs = _named_blobs(repository, document)
        children = _named_manifests(repository, document)
        manifest = _find(repository, digest) or _create(
            repository, access, digest, content, document, blobs, children
        )
        moved_from = _set_tag(repository, manifest, tag, access) if tag is not None else None
        now = timezone.now()
        BlobLink.objects.filter(repository=repository, blob__in=blobs.values()).update(held_until=None)
        Repository.objects.filter(pk=repository.pk).update(last_push_at=now)
        record(
            access,
            "manifest.push",
            repository,
            before={"digest": moved_from} if moved_from else None,
            after={"digest": manifest.digest} if moved_from else None,
            tag=tag or "",
            digest=str(digest),
        )
    return manifest


def _digest_and_tag(reference: str, content: bytes) -> tuple[Digest, str | None]:
    if ":" not in reference:
        return Digest.of(content), parse_tag(reference)
    wanted = Digest.parse(reference)
    actual = Digest.of(content, wanted.algorithm)
    if actual != wanted:
        raise DigestMismatch(
            f"The manifest has the digest {actual}, not {wanted}.", expected=str(wanted), actual=str(actual)
        )
    return wanted, None


def _require_settable(repository: Repository, tag: str, digest: Digest) -> None:
    if not is_immutable(repository, tag):
        return
    other = Tag.objects.filter(repository=repository, name=tag).exclude(manifest__digest=str(digest)).first()
    if other is not None:
        raise TagImmutable(
            f"The tag {tag!r} of {repository.path} is set and may not be moved: its rules make it immutable. "
            "Push under another tag.",
            tag=tag,
        )


def is_immutable(repository: Repository, tag: str) -> bool:
    return any(fnmatchcase(tag, pattern) for pattern in repository.immutable_tags)


def _named_blobs(repository: Repository, document: Document) -> dict[str, Blob]:
    """By digest. Raise ``MissingBlobs``, ``InvalidManifest`` where a size is wrong."""
    wanted = {str(each.digest): each for each in document.blobs}
    rows = Blob.objects.filter(links__repository=repository, digest__in=wanted)
    found = {blob.digest: blob for blob in rows}
    if missing := [digest for digest in wanted if digest not in found]:
        raise MissingBlobs(repository.path, missing)
    for digest, blob in found.items():
        if wanted[digest].size != blob.size:
            raise InvalidManifest(
                f"The manifest says that {digest} has {wanted[digest].size} bytes; it has {blob.size}."
            )
    return found


def _named_manifests(repository: Repository, document: Document) -> dict[str, Manifest]:
    wanted = {str(each.digest) for each in document.manifests}
    rows = Manifest.objects.filter(repository=repository, digest__in=wanted).only("digest", "content_size")
    found = {row.digest: row for row in rows}
    if missing := sorted(wanted - found.keys()):
        raise MissingBlobs(repository.path, missing)
    return found


def _find(repository: Repository, digest: Digest) -> Manifest | None:
    return Manifest.objects.filter(repository=repository, digest=str(digest)).defer("content").first()


def _create(
    repository: Repository,
    access: Access,
    digest: Digest,
    content: bytes,
    document: Document,
    blobs: dict[str, Blob],
    children: dict[str, Manifest],
) -> Manifest:
    manifest = Manifest.objects.create(
        repository=repository,
        digest=str(digest),
        media_type=document.media_type,
        content=content,
        size=len(content),
        subject=str(document.subject.digest) if document.subject else "",
        artifact_type=document.artifact_type,
        config_digest=str(document.config.digest) if document.config else "",
        platform=None if document.config and document.config.media_type in CONFIGS else "",
        annotations=document.annotations,
        content_size=sum(blob.size for blob in blobs.values())
        + sum(child.content_size for child in children.values()),
        pushed_by=access.label[:200],
    )
    _refer(manifest, document, blobs, children)
    accounting.lock(repository.project)
    accounting.add(repository.project, manifest.size)
    return manifest


def _refer(
    manifest: Manifest, document: Document, blobs: dict[str, Blob], children: dict[str, Manifest]
) -> None:
    first: dict[str, tuple[int, Descriptor]] = {}
    for position, descriptor in enumerate(document.blobs):
        first.setdefault(str(descriptor.digest), (position, descriptor))
    ManifestBlob.objects.bulk_create(
        ManifestBlob(manifest=manifest, blob=blobs[digest], position=position, media_type=each.media_type)
        for digest, (position, each) in first.items()
    )
    # In the order in which blobs are locked everywhere.
    for digest in sorted(first, key=lambda digest: blobs[digest].pk):
        if not blobs[digest].media_type:
            kind = first[digest][1].media_type
            Blob.objects.filter(pk=blobs[digest].pk, media_type="").update(media_type=kind)
    inner: dict[str, tuple[int, Descriptor]] = {}
    for position, descriptor in enumerate(document.manifests):
        inner.setdefault(str(descriptor.digest), (position, descriptor))
    ManifestChild.objects.bulk_create(
        ManifestChild(
            index=manifest,
            manifest=children[digest],
            position=position,
            platform=str(each.platform or "")[:100],
        )
        for digest, (position, each) in inner.items()
    )


def _set_tag(repository: Repository, manifest: Manifest, tag: str, access: Access) -> str | None:
    """The digest of the manifest that the tag was taken from, if it was another's."""
    rows = Tag.objects.filter(repository=repository, name=tag).exclude(manifest=manifest)
    before = rows.values_list("manifest__digest", flat=True).first()
    Tag.objects.update_or_create(
        repository=repository,
        name=tag,
        defaults={
            "manifest": manifest,
            "sort_key": sort_key(tag),
            "updated_by": access.label[:200],
            "updated_at": timezone.now(),
        },
    )
    return before


# --------------------------------------------------------------------------- deleting


@dataclass(frozen=True)
class Freed:
    manifests: int
    size: int
    """Bytes that the project holds no more; the sweep frees them within a minute."""


def delete_manifest(access: Access, path: str, digest: str) -> Freed:
    """Delete the manifest with its tags, what only it held together, and what was only said about it.

    Of an index that is: its manifests that no tag and no other index names; of any: its referrers without a
    tag. Raise ``NoSuchRepository``, ``NotAllowed``, ``InsufficientGrant``, ``NoSuchManifest``,
    ``TagImmutable``, ``ManifestInUse`` while an index names it.
    """
    with transaction.atomic():
        repository = _lock_for_deletion(access, path)
        manifest = get_manifest(repository, str(Digest.parse(digest)), content=False)
        for tag in manifest.tags.all():
            _require_removable(repository, tag.name)
        _require_unnamed(repository, manifest)
        freed = remove(repository, [manifest])
        record(
            access, "manifest.delete", repository, digest=digest, manifests=freed.manifests, freed=freed.size
        )
    return freed


def delete_tag(access: Access, path: str, tag: str, *, with_manifest: bool = False) -> Freed:
    """Delete the tag; ``with_manifest`` also what it named, if nothing else names it.

    Raise as ``delete_manifest``.
    """
    parse_tag(tag)
    with transaction.atomic():
        repository = _lock_for_deletion(access, path)
        row = (
            Tag.objects.select_related("manifest")
            .defer("manifest__content")
            .filter(repository=repository, name=tag)
            .first()
        )
        if row is None:
            raise NoSuchManifest(path, tag)
        _require_removable(repository, tag)
        manifest = row.manifest
        row.delete()
        freed = Freed(0, 0)
        if with_manifest and not manifest.tags.exists() and not manifest.parents.exists():
            freed = remove(repository, [manifest])
        record(access, "tag.delete", repository, tag=tag, digest=manifest.digest, freed=freed.size)
    return freed


def delete_blob(access: Access, path: str, digest: str) -> None:
    """Take the blob from the repository. Raise as ``delete_manifest``, ``NoSuchBlob``, ``BlobInUse``."""
    with transaction.atomic():
        repository = _lock_for_deletion(access, path)
        blob = get_blob(repository, digest)
        users = ManifestBlob.objects.filter(blob=blob, manifest__repository=repository).count()
        if users:
            raise BlobInUse(
                f"{users} manifest(s) of {path} name {digest}; delete them and it goes with them.",
                manifests=users,
            )
        BlobLink.objects.filter(repository=repository, blob=blob).update(held_until=None)
        links.drop_unneeded(repository, [blob])
        record(access, "blob.delete", repository, digest=digest)


def remove(repository: Repository, manifests: Collection[Manifest]) -> Freed:
    """Delete ``manifests`` and all that goes with them; the repository is locked, the caller records it."""
    doomed = {each.pk: each for each in with_dependants(repository, manifests)}
    blobs = list(Blob.objects.filter(references__manifest__in=list(doomed)).distinct())
    size = sum(each.size for each in doomed.values())
    Manifest.objects.filter(pk__in=list(doomed)).delete()
    freed = links.drop_unneeded(repository, blobs)
    accounting.lock(repository.project)
    accounting.add(repository.project, -size)
    return Freed(len(doomed), size + freed)


def frees(manifest: Manifest) -> int:
    """What deleting it would free, with all that goes along."""
    return unique_bytes(with_dependants(manifest.repository, [manifest]))


def with_dependants(
    repository: Repository, manifests: Collection[Manifest], gone_tags: Collection[str] = ()
) -> list[Manifest]:
    """``manifests`` and, again and again, what is left without a purpose once they are gone.

    ``gone_tags``: names that are as good as deleted.
    """
    doomed = {each.pk: each for each in manifests}
    tagged = Exists(Tag.objects.filter(manifest=OuterRef("pk")).exclude(name__in=gone_tags))
    untagged = Manifest.objects.filter(~tagged, repository=repository).defer("content")
    fresh = list(doomed.values())
    while fresh:
        others = untagged.exclude(pk__in=list(doomed))
        staying = ManifestChild.objects.filter(manifest=OuterRef("pk")).exclude(index__in=list(doomed))
        orphans = others.filter(~Exists(staying), parents__index__in=fresh).distinct()
        referrers = others.filter(subject__in=[each.digest for each in fresh], parents=None)
        fresh = [*orphans, *referrers]
        doomed |= {each.pk: each for each in fresh}
    return list(doomed.values())


def _lock_for_deletion(access: Access, path: str) -> Repository:
    repository = find_repository(path)
    if repository is None:
        raise NoSuchRepository(path)
    require_write(access, path, repository.project, Verb.DELETE, there=repository)
    links.lock(repository)
    return repository


def _require_unnamed(repository: Repository, manifest: Manifest) -> None:
    """An index without one of its manifests is broken for whoever pulls that platform."""
    indexes = list(manifest.parents.values_list("index__digest", flat=True))
    if indexes:
        more = f" and {len(indexes) - 1} more" if len(indexes) > 1 else ""
        raise ManifestInUse(
            f"The index {indexes[0]}{more} of {repository.path} names {manifest.digest}; "
            "delete that and it goes with it.",
            indexes=len(indexes),
        )


def _require_removable(repository: Repository, tag: str) -> None:
    if is_immutable(repository, tag):
        raise TagImmutable(
            f"The tag {tag!r} of {repository.path} is immutable by its rules and stays. "
            "Change the rules first.",
            tag=tag,
        )
