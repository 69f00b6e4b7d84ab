"""Which sections of BuildKit's Dockerfile reference a Dockerfile is about, by parsing it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from workers.engine.dockerfile.mounts import TYPES, parse_mount
from workers.engine.dockerfile.parser import Node, parse_tree

INSTRUCTIONS = {
    "FROM", "RUN", "CMD", "LABEL", "MAINTAINER", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT", "VOLUME",
    "USER", "WORKDIR", "ARG", "ONBUILD", "STOPSIGNAL", "HEALTHCHECK", "SHELL",
}  # fmt: skip
FLAGS = {
    "FROM": ("platform",),
    "RUN": ("mount", "network", "security"),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("keep-git-dir", "checksum", "unpack", "chown", "chmod", "link", "exclude"),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
}
"""All but ``RUN --device``, which is refused."""
MODIFIERS = (":-", "-", ":+", "+", ":?", "?", "#", "##", "%", "%%", "/", "//")
SHARING = ("shared", "private", "locked")
PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_PLATFORM = re.compile(r"\$\{?(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)\b")
_MODIFIER = re.compile(r"\$\{\w+(:[-+?]|##?|%%?|//?|[-+?])")
_EXPANDING = {
    "FROM",
    "ENV",
    "LABEL",
    "EXPOSE",
    "USER",
    "WORKDIR",
    "VOLUME",
    "STOPSIGNAL",
    "COPY",
    "ADD",
    "ARG",
}
_GIT = re.compile(r"\.git(#|$)|\.git[:/#]")


def sections(text: str) -> set[str]:
    """Of the reference; what has no section of its own, as ``${X:?}``, stands behind its section's name."""
    tree = parse_tree(text, "Dockerfile")
    found = {f"Parser directives: {name}" for name in tree.directives}
    for node in _all(tree.nodes):
        found.add(node.name)
        if node.heredocs:
            found.add("Here-Documents")
        if node.json:
            found.add("Shell and exec form: exec")
        found |= _flags(node) | _variables(node)
        if node.name == "ADD":
            found |= {f"ADD: {kind}" for kind in _sources(node)}
    return found


def _all(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if node.child is not None:
            yield from _all((node.child,))


def _flags(node: Node) -> set[str]:
    found = set()
    for flag in node.flags:
        name, _, value = flag.removeprefix("--").partition("=")
        found.add(f"{node.name} --{name}")
        if name == "mount":
            mount = parse_mount(value)
            found.add(f"RUN --mount=type={mount.type}")
            if mount.type == "cache":
                found.add(f"RUN --mount=type=cache: sharing={mount.sharing}")
        elif name in ("network", "security"):
            found.add(f"RUN --{name}={value}")
    return found


def _variables(node: Node) -> set[str]:
    """Flags are expanded as well; of RUN and CMD the shell expands what there is."""
    text = " ".join((*node.flags, *node.arguments))
    found = set()
    if node.name in _EXPANDING:
        found |= {f"Environment replacement: ${{X{sign}}}" for sign in _MODIFIER.findall(text)}
    if _PLATFORM.search(text) or (
        node.name == "ARG" and re.search(r"\b(TARGET|BUILD)(PLATFORM|OS|ARCH)", text)
    ):
        found.add("ARG: Automatic platform ARGs in the global scope")
    if any(re.search(rf"\b{name}\b", text) for name in PREDEFINED):
        found.add("ARG: Predefined ARGs")
    return found


def _sources(node: Node) -> set[str]:
    kinds = set()
    for source in node.arguments[:-1]:
        if _GIT.search(source) or source.startswith("$REPOSITORY"):
            kinds.add("Adding files from a Git repository")
        elif "://" in source or source.startswith(("$SERVER", "${SERVER}")):
            kinds.add("Adding files from a URL")
        elif re.search(r"\.(tar|tgz|t?[bx]z2?|zst)(\.|$)", source):
            kinds.add("Adding local tar archives")
    return kinds


def wanted() -> set[str]:
    """What the corpus must have, each at least once."""
    found = set(INSTRUCTIONS) | {"Here-Documents", "Shell and exec form: exec"}
    found |= {f"Parser directives: {name}" for name in ("syntax", "escape", "check")}
    found |= {f"{name} --{flag}" for name, flags in FLAGS.items() for flag in flags}
    found |= {f"RUN --mount=type={kind}" for kind in TYPES}
    found |= {f"RUN --mount=type=cache: sharing={sharing}" for sharing in SHARING}
    found |= {"RUN --network=none", "RUN --network=default", "RUN --security=sandbox"}
    found |= {f"Environment replacement: ${{X{sign}}}" for sign in MODIFIERS}
    found |= {"ARG: Automatic platform ARGs in the global scope", "ARG: Predefined ARGs"}
    kinds = ("local tar archives", "files from a URL", "files from a Git repository")
    return found | {f"ADD: Adding {kind}" for kind in kinds}
