"""What images take on disk: each layer lies there once, however many images hold it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Max, QuerySet, Sum

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.catalog.models import Image, ImageLayer
from slipway.projects.models import Project


def neighbours(project: Project) -> QuerySet[Project]:
    """Whose images count as sharing with the project's: its own and the library's.

    An image of the library must not tell one project what another one holds.
    """
    own = Project.objects.filter(pk=project.pk)
    return own if project.library else own | Project.objects.filter(library=True)


def measure(images: Iterable[Image]) -> None:
    """Tell each of ``images``, all of one project, its ``shared_size`` and ``unique_size``. Two queries."""
    images = list(images)
    if not images:
        return
    mine = ImageLayer.objects.filter(image__in=[image.pk for image in images]).order_by()
    around = ImageLayer.objects.filter(
        image__project__in=neighbours(images[0].project), image__withdrawn=False
    )
    counted = around.filter(diff_id__in=mine.values("diff_id")).order_by().values("diff_id")
    holders = dict(counted.annotate(n=Count("image", distinct=True)).values_list("diff_id", "n"))
    shared: dict[object, int] = {}
    unique: dict[object, int] = {}
    for key, diff_id, size in mine.values_list("image_id", "diff_id", "unpacked_size").distinct():
        sums = shared if holders.get(diff_id, 1) > 1 else unique
        sums[key] = sums.get(key, 0) + size
    for image in images:
        image.shared_size, image.unique_size = shared.get(image.pk, 0), unique.get(image.pk, 0)


@dataclass(frozen=True)
class DiskUse:
    """Bytes of layers, unpacked."""

    images: int
    size: int
    """Each image counted by itself."""
    disk: int
    """Each layer counted once."""
    library: int
    """Of ``disk``, what the library holds as well."""
    unused_images: int
    """No container is made from them."""
    reclaimable: int
    """What removing those would free of ``disk``."""


def disk_use(actor: Actor, project: Project) -> DiskUse:
    """Raise ``NotFound``."""
    require(actor, Action.READ, project)
    images = Image.objects.filter(project=project, withdrawn=False)
    used = images.filter(containers__removed_at=None, containers__isnull=False).distinct()
    unused = images.exclude(pk__in=used.values("pk"))
    layers = ImageLayer.objects.filter(image__in=images.values("pk")).order_by()
    library = ImageLayer.objects.filter(image__project__library=True, image__withdrawn=False).order_by()
    disk = _once(layers)
    kept = _once(layers.filter(image__in=used.values("pk")))
    return DiskUse(
        images=images.count(),
        size=images.aggregate(sum=Sum("size"))["sum"] or 0,
        disk=disk,
        library=0 if project.library else _once(layers.filter(diff_id__in=library.values("diff_id"))),
        unused_images=unused.count(),
        reclaimable=disk - kept,
    )


def _once(layers: QuerySet[ImageLayer]) -> int:
    sizes = layers.values("diff_id").annotate(bytes=Max("unpacked_size"))
    total: int | None = sizes.aggregate(sum=Sum("bytes"))["sum"]
    return total or 0
