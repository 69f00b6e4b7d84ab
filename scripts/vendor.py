#!/usr/bin/env python3
"""Copy the few files the console serves from node_modules to static/vendor; safe to repeat.

Run after ``npm ci``. Files are written aside and renamed, so a running server never reads half a file.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "static" / "vendor"

FILES = {
    "tabler.css": "@tabler/core/dist/css/tabler.min.css",
    "htmx.js": "htmx.org/dist/htmx.min.js",
}
# For the browser tests only; not served in production because nothing links to it.
TEST_FILES = {"axe.js": "axe-core/axe.min.js"}
ICONS = ROOT / "static" / "icons.txt"
SOURCE_MAP = re.compile(r"\s*(/\*|//)# sourceMappingURL=\S+(\s*\*/)?")
SHAPES = re.compile(r"<(?:path|circle|rect|line|polyline|polygon)\b.*?/>", re.DOTALL)


def main() -> int:
    if not MODULES.is_dir():
        print(f"{MODULES} does not exist: run `npm ci` in {ROOT} first.", file=sys.stderr)
        return 1
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in {**FILES, **TEST_FILES}.items():
        path = MODULES / source
        if not path.is_file():
            print(f"{path} is missing: run `npm ci` again.", file=sys.stderr)
            return 1
        # The maps are not served; a hashing storage would stop at the dangling reference.
        _write(VENDOR / name, SOURCE_MAP.sub("", path.read_text()))
    _write(VENDOR / "icons.svg", sprite(icon_names()))
    _write(VENDOR / "versions.json", json.dumps(versions(), indent=2) + "\n")
    print(f"static/vendor: {len(FILES)} files, {len(icon_names())} icons")
    return 0


def icon_names() -> list[str]:
    """Names in ``static/icons.txt``, one a line, ``filled/name`` for the filled drawing."""
    return sorted({line.strip() for line in ICONS.read_text().splitlines() if line.strip()})


def sprite(names: list[str]) -> str:
    """One SVG file with a symbol per icon, used as ``<use href="icons.svg#name">``."""
    symbols = []
    for name in names:
        style, _, plain = name.rpartition("/")
        source = (MODULES / "@tabler/icons/icons" / (style or "outline") / f"{plain}.svg").read_text()
        shapes = [" ".join(shape.split()) for shape in SHAPES.findall(source)]
        paint = (
            'fill="currentColor"'
            if style == "filled"
            else 'fill="none" stroke="currentColor" stroke-width="2" '
            'stroke-linecap="round" stroke-linejoin="round"'
        )
        drawn = "".join(shape for shape in shapes if 'd="M0 0h24v24H0z"' not in shape)
        symbols.append(f'<symbol id="{name.replace("/", "-")}" viewBox="0 0 24 24" {paint}>{drawn}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">' + "".join(symbols) + "</svg>\n"


def versions() -> dict[str, str]:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    return {
        path.removeprefix("node_modules/"): facts["version"]
        for path, facts in sorted(packages.items())
        if path.startswith("node_modules/")
    }


def _write(target: Path, text: str) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.write_text(text)
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(main())
