"""Which chains of other programs stand between containers and the world."""

from __future__ import annotations

from workers.engine.forwarding import Barrier, barriers, rules
from workers.engine.nftables import BaseChain, decode_generation


def test_only_foreign_chains_that_drop_what_is_forwarded_are_barriers() -> None:
    chains = [
        BaseChain("ip", "filter", "FORWARD", "forward", "drop"),
        BaseChain("ip", "filter", "INPUT", "input", "drop"),
        BaseChain("inet", "firewall", "fwd", "forward", "drop"),
        BaseChain("inet", "firewall2", "fwd", "forward", "accept"),
        BaseChain("inet", "slipway", "forward", "forward", "drop"),
    ]
    assert barriers(chains, "slipway") == [
        Barrier("ip filter FORWARD", "iptables-nft"),
        Barrier("inet firewall fwd", None),
    ]


def test_the_rules_name_their_instance_and_cover_both_directions() -> None:
    there, back = rules("slipway")
    assert there[:2] == ("-o", "sw+")
    assert "RELATED,ESTABLISHED,DNAT" in there
    assert back[:2] == ("-i", "sw+")
    assert all("slipway slipway" in rule for rule in (there, back))


def test_the_generation_is_read_big_endian() -> None:
    answer = bytes(20) + bytes.fromhex("0800 0100 00000102")
    assert decode_generation(answer) == 258
