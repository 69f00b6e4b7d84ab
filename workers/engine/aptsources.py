"""The node's own package sources, cut down to what one Debian release is made from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from workers.errors import NodeError

Stanza = dict[str, str]
_OPTION = re.compile(r"\[([^\]]*)\]")
_OPTION_FIELDS = {"signed-by": "Signed-By", "arch": "Architectures", "trusted": "Trusted"}


def release_of(os_release: str) -> str:
    """The code name a Debian node gives itself; raise ``NodeError`` on another distribution."""
    facts = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    name = facts.get("VERSION_CODENAME", "").strip('"')
    if facts.get("ID", "").strip('"') != "debian" or not name:
        raise NodeError(
            "This node is not Debian and has no packages to make a Debian image from; import one instead"
        )
    return name


def release_numbers(os_release: str) -> tuple[str, ...]:
    """``12`` of a stable release; nothing for one that has no number yet."""
    facts = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    number = facts.get("VERSION_ID", "").strip('"')
    return (number,) if number else ()


def sources_for(release: str, texts: Iterable[str]) -> str:
    """What of the source files ``texts`` (both formats) offers ``release``, as deb822.

    Other vendors' sources on the node are not for the image. Raise ``NodeError`` when nothing is left.
    """
    suites = [release, f"{release}-updates", f"{release}-security"]
    kept = []
    for stanza in (each for text in texts for each in _stanzas(text)):
        offered = [suite for suite in stanza.get("Suites", "").split() if suite in suites]
        if offered and "main" in stanza.get("Components", "").split() and _is_usable(stanza):
            kept.append({**stanza, "Types": "deb", "Suites": " ".join(offered), "Components": "main"})
    if not any(release in stanza["Suites"].split() for stanza in kept):
        raise NodeError(
            f"No package source of this node offers Debian {release}; add one below /etc/apt/sources.list.d",
            release=release,
        )
    return "\n".join("".join(f"{name}: {value}\n" for name, value in each.items()) for each in kept)


def source_texts(directory: Path) -> list[str]:
    """The contents of the source files apt would read below ``directory`` (``/etc/apt``)."""
    parts = directory / "sources.list.d"
    files = [directory / "sources.list", *sorted([*parts.glob("*.list"), *parts.glob("*.sources")])]
    return [path.read_text(errors="replace") for path in files if path.is_file()]


def _is_usable(stanza: Stanza) -> bool:
    enabled = stanza.get("Enabled", "yes").lower() not in ("no", "false", "0")
    return enabled and "deb" in stanza.get("Types", "deb").split() and not stanza["URIs"].startswith("cdrom:")


def _stanzas(text: str) -> list[Stanza]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    if any(re.match(r"(URIs|Suites):", line) for line in lines):
        return [stanza for block in re.split(r"\n\s*\n", "\n".join(lines)) if (stanza := _deb822(block))]
    return [stanza for line in lines if (stanza := _one_line(line))]


def _deb822(block: str) -> Stanza:
    stanza: Stanza = {}
    name = ""
    for line in block.splitlines():
        if line[:1].isspace() and name:
            stanza[name] += "\n" + line  # a value goes on, as a key block does
        elif ":" in line:
            name, value = line.split(":", 1)
            stanza[name] = value.strip()
    return stanza if "URIs" in stanza else {}


def _one_line(line: str) -> Stanza:
    """``deb [signed-by=…] URI suite component…``"""
    options = dict(
        option.split("=", 1) for match in _OPTION.findall(line) for option in match.split() if "=" in option
    )
    words = _OPTION.sub(" ", line).split()
    if len(words) < 4 or words[0] != "deb":
        return {}
    stanza = {"Types": "deb", "URIs": words[1], "Suites": words[2], "Components": " ".join(words[3:])}
    for option, field in _OPTION_FIELDS.items():
        if option in options:
            stanza[field] = options[option].replace(",", " ")
    return stanza
