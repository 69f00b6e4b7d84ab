"""``python -m workers.engine.dockerfile dump FILE``: the parsed form, one S-expression per instruction.

``… check FILE``: what the checks find. ``-`` reads standard input. Status: 0 nothing found, 1 findings,
2 the file cannot be read as a Dockerfile.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TextIO

from workers.engine.build.graph import PlanRequest
from workers.engine.build.planning import check
from workers.engine.dockerfile.dump import dump
from workers.engine.dockerfile.errors import explain
from workers.engine.dockerfile.ignore import Ignore, InvalidPattern, ignore_names
from workers.engine.dockerfile.locations import Finding
from workers.engine.dockerfile.parser import parse_tree
from workers.engine.dockerfile.reading import decode, parse
from workers.errors import InvalidDockerfile


def main(arguments: list[str], out: TextIO, err: TextIO) -> int:
    options = _options(arguments)
    try:
        name, data = _read(options.file)
        if options.command == "dump":
            out.write(dump(parse_tree(decode(data, name), name)))
            return 0
        values = dict(each.split("=", 1) for each in options.build_arg)
        found = check(parse(data, name), PlanRequest(build_args=values), ignore=_ignore(options.file))
    except InvalidDockerfile as error:
        err.write(explain(error) + "\n")
        return 2
    except (OSError, InvalidPattern) as error:
        err.write(f"{error}\n")
        return 2
    out.writelines(_shown(finding) for finding in found)
    return 1 if found else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.engine.dockerfile", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("dump", "print the parsed form"), ("check", "print what the checks find")):
        command = commands.add_parser(name, help=text)
        command.add_argument("file")
        if name == "check":
            command.add_argument("--build-arg", action="append", default=[], type=_pair, metavar="NAME=VALUE")
    return parser.parse_args(arguments)


def _pair(text: str) -> str:
    if not text.partition("=")[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return text


def _read(file: str) -> tuple[str, bytes]:
    if file == "-":
        return "Dockerfile", sys.stdin.buffer.read()
    path = Path(file)
    return path.name, path.read_bytes()


def _ignore(file: str) -> Ignore | None:
    """Of the directory the Dockerfile stands in, which is taken for the context."""
    path = Path(file)
    for name in ignore_names(path.name):
        beside = path.parent / name
        if file != "-" and beside.is_file():
            return Ignore.parse(beside.read_text())
    return None


def _shown(finding: Finding) -> str:
    location = finding.location
    spot = location.find("")
    text, marker = spot.marked
    number = str(spot.line)
    return (
        f"{location.file}:{number}: {finding.rule}: {finding.message}\n"
        f"  {number} | {text}\n  {' ' * len(number)} | {marker}\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout, sys.stderr))
