"""What a backup holds of a node: its keys, its grants and, if wanted, the layers those name.

``python -m workers.engine.keeping save|unpack`` is how the platform's `backup` and `restore` reach it.
Containers' writable layers, logs and the journal are not kept: a node that comes back begins a new epoch,
and its inventory tells what is not there any more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from workers.content import sync_directory
from workers.engine import layers
from workers.engine.images import UPSTREAM
from workers.engine.places import Places
from workers.engine.trees import remove_tree
from workers.errors import NodeError

_FAITHFUL = ("--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")


def save(places: Places, target: BinaryIO, *, with_layers: bool) -> None:
    """Write a tar of paths below ``<data>/node``; each layer is a tar in it. Safe while the node works."""
    # Under a lease no layer is swept, so every grant read here still has its layers further down.
    with layers.lease(places), tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(path for path in places.keys.iterdir() if not path.name.startswith(".")):
            _add(archive, path, places)
        grants = sorted(path for path in places.images.glob("*/*.json") if _is_a_projects(path.parent.name))
        for path in grants:
            _add(archive, path, places)
        for diff_id in sorted(_layers_of(grants)) if with_layers else ():
            # Its notes first, as on the node: a layer that is there can be pushed and saved.
            for directory in (places.layer_notes(diff_id), places.layer(diff_id)):
                _add_tree(archive, places, directory)


def _is_a_projects(scope: str) -> bool:
    """Caches (`upstream`, `builds-…`) fill again by themselves."""
    return scope.isalnum() and scope != UPSTREAM


def unpack(places: Places) -> int:
    """Make directories of the layers' tars, each gone once its layer is there; how many layers there were."""
    for path in sorted(places.all_layer_notes.glob("*/*.tar")):
        _unpack(places, path)
    layers_there = sorted(places.layers.glob("sha*/*.tar"))
    for path in layers_there:
        _unpack(places, path)
    remove_tree(places.layer_ingest)
    return len(layers_there)


def _unpack(places: Places, path: Path) -> None:
    aside = places.layer_ingest / path.stem
    places.layer_ingest.mkdir(mode=0o700, exist_ok=True)
    aside.mkdir(mode=0o755)
    _tar("--extract", "--same-owner", "--preserve-permissions", "--file", str(path), at=aside)
    os.sync()
    aside.rename(path.with_suffix(""))
    sync_directory(path.parent)
    path.unlink()


def missing_layers(places: Places) -> list[str]:
    """diffIDs that grants name and the node does not have."""
    return sorted(each for each in _layers_of(places.images.glob("*/*.json")) if not _is_here(places, each))


def _is_here(places: Places, diff_id: str) -> bool:
    here = places.layer(diff_id)
    return here.is_dir() or here.with_name(f"{here.name}.tar").is_file()


def _layers_of(grants: Iterator[Path] | Sequence[Path]) -> set[str]:
    return {str(layer["diff_id"]) for path in grants for layer in json.loads(path.read_bytes())["layers"]}


def _add(archive: tarfile.TarFile, path: Path, places: Places) -> None:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return  # withdrawn meanwhile
    with tempfile.SpooledTemporaryFile(1 << 20) as file:
        file.write(body)
        _put(archive, str(path.relative_to(places.node)), file)


def _add_tree(archive: tarfile.TarFile, places: Places, directory: Path) -> None:
    if not directory.is_dir():
        return  # an image restored without its layers, or a layer from before there were notes
    with tempfile.TemporaryFile(dir=places.layer_ingest) as file:
        _tar("--create", "--file", "-", ".", at=directory, output=file)
        _put(archive, f"{directory.relative_to(places.node)}.tar", file)


def _put(archive: tarfile.TarFile, name: str, file: BinaryIO | tempfile.SpooledTemporaryFile[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = file.seek(0, os.SEEK_END)
    member.mode = 0o600
    file.seek(0)
    archive.addfile(member, file)


def _tar(*arguments: str, at: Path, output: BinaryIO | int = subprocess.DEVNULL) -> None:
    """GNU tar: the one that keeps extended attributes, ACLs and whiteouts."""
    command = ["tar", *_FAITHFUL, "--directory", str(at), *arguments]
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise NodeError(f"tar failed at {at}: {done.stderr.strip()[-500:]}", path=str(at))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.engine.keeping", description=__doc__)
    parser.add_argument("action", choices=("save", "unpack", "missing"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--with-layers", action="store_true")
    chosen = parser.parse_args(arguments)
    places = Places(chosen.data, chosen.data)  # nothing here is about the run directory
    try:
        if chosen.action == "save":
            save(places, sys.stdout.buffer, with_layers=chosen.with_layers)
        elif chosen.action == "unpack":
            print(unpack(places))
        else:
            print("\n".join(missing_layers(places)))
    except (NodeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
