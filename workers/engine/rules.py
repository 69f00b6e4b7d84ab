"""What may pass between containers, node and world, as nftables text. Pure.

One table per instance. A project is one element of ``bridges`` and one of ``members``; no rule
names a project, so the cost of a packet does not grow with their number.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.errors import NetworkFailed


@dataclass(frozen=True)
class Segment:
    """A project's bridge and the IPv4 network behind it."""

    bridge: str
    subnet: str


@dataclass(frozen=True)
class Egress:
    """Where containers may open connections to: anywhere but ``deny``, except ``allow``.

    ``resolvers`` may be asked on port 53 wherever they are. Link-local addresses (a cloud's
    metadata service) stay closed even if ``allow`` covers them.
    """

    deny: Sequence[str]
    allow: Sequence[str]
    resolvers: Sequence[str]


_BODY = """\
  set bridges {{ type ifname; {bridges}}}
  set members {{ type ifname . ipv4_addr; flags interval; {members}}}
  set resolvers {{ type ipv4_addr; {resolvers}}}
  set allowed {{ type ipv4_addr; flags interval; auto-merge; {allowed}}}
  set denied {{ type ipv4_addr; flags interval; auto-merge; {denied}}}

  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges jump arriving
  }}
  chain arriving {{
    ip daddr 127.0.0.0/8 drop
    iifname . ip saddr @members return
    drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname @bridges goto to_node
  }}
  chain to_node {{
    ct state established,related accept
    reject with icmp admin-prohibited
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname @bridges goto leaving
    oifname @bridges goto entering
  }}
  chain leaving {{
    ct state established,related accept
    oifname . ip saddr @members accept
    oifname @bridges reject with icmp admin-prohibited
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr 169.254.0.0/16 reject with icmp admin-prohibited
    ip daddr @allowed accept
    ip daddr @denied reject with icmp admin-prohibited
  }}
  chain entering {{
    ct state established,related accept
    drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname @bridges oifname != @bridges masquerade
  }}
"""
# arriving: a packet that is not IPv4 from the bridge's own network ends here, so all of IPv6 does;
#   127/8 would get through wherever route_localnet is on.
# leaving: the source is known to be of the bridge's own network, so `oifname . ip saddr @members`
#   means "back into the same bridge" (such frames come here where br_netfilter is on).
# entering: nobody outside may open a connection, though the node forwards.


def table_name(instance: str) -> str:
    """The instance's own name, made such that nft takes it for no number and no word of its own."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", instance):
        raise NetworkFailed(f"{instance!r} cannot name an instance: up to 40 of a-z, 0-9 and '-'")
    return instance if instance.startswith("slipway") else f"slipway-{instance}"


def render(table: str, egress: Egress, segments: Iterable[Segment]) -> str:
    """Commands that put the table as it should be in place of whatever has its name, atomically."""
    ordered = sorted(set(segments), key=lambda segment: segment.bridge)
    body = _BODY.format(
        bridges=_elements(f'"{segment.bridge}"' for segment in ordered),
        members=_elements(f'"{segment.bridge}" . {segment.subnet}' for segment in ordered),
        resolvers=_elements(egress.resolvers),
        allowed=_elements(egress.allow),
        denied=_elements(egress.deny),
    )
    name = f"inet {table}"
    head = f"table {name} {{}}\ndelete table {name}\n"
    return f'{head}table {name} {{\n  comment "{mark(egress)}"\n{body}}}\n'


def add_segment(table: str, segment: Segment) -> str:
    """Commands that add a project to a loaded table; nothing happens if it is in already."""
    return (
        f'add element inet {table} bridges {{ "{segment.bridge}" }}\n'
        f'add element inet {table} members {{ "{segment.bridge}" . {segment.subnet} }}\n'
    )


def find_segment(table: str, segment: Segment) -> str:
    """Commands that fail unless the project is in the loaded table."""
    return (
        f'get element inet {table} bridges {{ "{segment.bridge}" }}\n'
        f'get element inet {table} members {{ "{segment.bridge}" . {segment.subnet} }}\n'
    )


def remove(table: str) -> str:
    """Commands that remove the table, also when there is none."""
    return f"table inet {table} {{}}\ndelete table inet {table}\n"


def mark(egress: Egress) -> str:
    """The table's comment: tells rules of this version and this policy from others."""
    text = repr((_BODY, tuple(egress.deny), tuple(egress.allow), tuple(egress.resolvers)))
    return f"rules {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def intact(listing: str, egress: Egress) -> bool:
    """Whether the kernel's listing of the table (without set elements) is what ``render`` loads.

    Compares the mark and the rules of each chain by number: somebody's ``flush`` shows, while
    nft's own spelling of a rule does not matter.
    """
    return f'comment "{mark(egress)}"' in listing and _rules(listing) == _rules(render("t", egress, ()))


def _rules(text: str) -> dict[str, int]:
    chains = re.findall(r"chain (\w+) \{(.*?)\n\s*\}", text, re.DOTALL)
    return {name: sum(1 for line in body.splitlines() if line.strip()) for name, body in chains}


def _elements(items: Iterable[str]) -> str:
    joined = ", ".join(items)
    return f"elements = {{ {joined} }} " if joined else ""
