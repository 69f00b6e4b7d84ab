"""Jobs that make images by recipes."""

from __future__ import annotations

import tempfile
from dataclasses import replace

from workers.engine import images, importing, recipes
from workers.engine.host import Emit
from workers.engine.images import Image
from workers.engine.importing import Imported
from workers.engine.logwriting import LogWriter
from workers.errors import NoSuchImage
from workers.messages import BakeImage
from workers.node import Node
from workers.tasks.jobs import Check
from workers.tasks.reporting import Reporter, tell


def bake(node: Node, command: BakeImage, emit: Emit, check: Check, log: LogWriter) -> None:
    """Repeatable. What the programs at work say goes to ``log``."""
    report = Reporter(command.job, emit, check, log, quiet=True)
    recipe = recipes.PROGRAMS.get(command.recipe)
    if recipe is None:
        _make_root(node, command, emit, report)
        return
    base = _base(node, command, emit, report)
    log.write(f"Installing {', '.join(recipe.packages)} on {base.config.labels.get(_TITLE, base.image_id)}")

    def say(line: str) -> None:
        log.write(line)
        report(line[:200])

    made = recipes.install(
        node.engine.images,
        recipe,
        base,
        scope=command.scope,
        repository=command.repository,
        tag=command.tag,
        say=say,
        check=check,
    )
    tell(command, made, emit, report)


_TITLE = "org.opencontainers.image.title"


def _base(node: Node, command: BakeImage, emit: Emit, report: Reporter) -> Image:
    """What the platform named; where it knows none, one made now, which becomes the library's."""
    store = node.engine.images
    if command.base is not None:
        try:
            return images.get(store, command.scope, command.base)
        except NoSuchImage:
            report.log.write("The base image is no longer on this node; it is made anew.", "stderr")
    root = replace(
        command, recipe=recipes.ROOT_OF_PROGRAMS, repository=recipes.ROOT_OF_PROGRAMS, tag="latest", base=None
    )
    return images.get(store, command.scope, _make_root(node, root, emit, report).image_id)


def _make_root(node: Node, command: BakeImage, emit: Emit, report: Reporter) -> Imported:
    # Without a name, so that nothing is left of it whoever dies.
    with tempfile.TemporaryFile(dir=node.places.content) as archive:
        tags = recipes.bake(command.recipe, archive, report, report.log.write)
        archive.seek(0)
        names = [command.tag, *tags] if command.tag == "latest" else [command.tag]
        made = importing.import_archive(
            node.engine.images,
            archive,
            scope=command.scope,
            references=[f"{command.repository}:{name}" for name in names],
            progress=report,
        )
    tell(command, made, emit, report)
    return made
