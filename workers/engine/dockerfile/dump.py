"""The parsed form as BuildKit's parser prints it: one S-expression per instruction. Pure."""

from __future__ import annotations

from workers.engine.dockerfile.parser import Node, Tree

_NAMED = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}


def dump(tree: Tree) -> str:
    """``(from "alpine" "AS" "build")``, ``(run ["--network=none"] "make")``, ``(onbuild (run "make"))``."""
    return "".join(f"({_dump(node)})\n" for node in tree.nodes)


def _dump(node: Node) -> str:
    parts = [node.keyword.lower()]
    if node.flags:
        parts.append(f"[{' '.join(map(quote, node.flags))}]")
    if node.child is not None:
        parts.append(f"({_dump(node.child)})")
    return " ".join([*parts, *map(quote, node.arguments)])


def quote(text: str) -> str:
    """As Go's ``strconv.Quote``."""
    return '"' + "".join(map(_letter, text)) + '"'


def _letter(each: str) -> str:
    if each in _NAMED:
        return _NAMED[each]
    if each.isprintable():
        return each
    code = ord(each)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
