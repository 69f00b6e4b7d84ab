"""Other programs' firewalls on the node's forwarding path, and our way through them.

An accept in our own table does not help against a drop in another one: every base chain of the
hook must let a packet pass. dockerd sets the policy of ``ip filter FORWARD`` to drop, and so do
ufw and others; there, rules for our bridges are put where iptables keeps the operator's own ones.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.engine.nftables import BaseChain, Nftables
from workers.errors import NetworkFailed

BRIDGES = "sw+"
"""The bridges of all instances, as iptables writes a prefix."""

_LEGACY_TABLES = Path("/proc/net/ip_tables_names")


@dataclass(frozen=True)
class Barrier:
    """A chain of another program that drops what is forwarded; ``program`` can change it, if any."""

    description: str
    program: str | None


def barriers(chains: Iterable[BaseChain], own_table: str) -> list[Barrier]:
    """Base chains of the forward hook with policy drop, among those nftables sees. Pure."""
    found = []
    for chain in chains:
        if chain.hook != "forward" or chain.policy != "drop" or chain.table == own_table:
            continue
        iptables = (chain.family, chain.table, chain.name) == ("ip", "filter", "FORWARD")
        found.append(
            Barrier(f"{chain.family} {chain.table} {chain.name}", "iptables-nft" if iptables else None)
        )
    return found


def legacy_barriers() -> list[Barrier]:
    """The same for the kernel's old interface, which nftables does not see."""
    try:
        if "filter" not in _LEGACY_TABLES.read_text().split() or not shutil.which("iptables-legacy"):
            return []
    except OSError:
        return []
    dropping = "-P FORWARD DROP" in _iptables("iptables-legacy", "-S", "FORWARD").stdout
    return [Barrier("ip filter FORWARD (legacy iptables)", "iptables-legacy")] if dropping else []


def open_for_bridges(nftables: Nftables) -> bool:
    """Whether somebody's rules let our bridges through ``ip filter``; costs no process."""
    for chain in ("DOCKER-USER", "FORWARD"):
        with contextlib.suppress(NetworkFailed):
            listing = nftables.run(f"list chain ip filter {chain}")
            if 'iifname "sw*"' in listing and 'oifname "sw*"' in listing:
                return True
    return False


def rules(instance: str) -> list[tuple[str, ...]]:
    """The rules that let our bridges through, in iptables' words. Our own table still filters. Pure."""
    comment = ("-m", "comment", "--comment", f"slipway {instance}", "-j", "ACCEPT")
    answers = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT")
    return [
        ("-o", BRIDGES, *answers, *comment),
        ("-i", BRIDGES, *comment),
    ]


def admit(barrier: Barrier, instance: str) -> None:
    """Put our rules in front of the barrier; nothing happens when they are there.

    Raise ``NetworkFailed`` when that is not possible.
    """
    program = _program(barrier)
    chain = _operators_chain(program)
    for rule in rules(instance):
        if not _has(program, chain, rule):
            answer = _iptables(program, "-I", chain, *rule)
            if answer.returncode:
                raise NetworkFailed(f"{program} could not let containers through {chain}: {_reason(answer)}")


def admitted(barrier: Barrier, instance: str) -> bool:
    """Whether our rules are in front of the barrier."""
    if barrier.program is None or shutil.which(barrier.program) is None:
        return False
    chain = _operators_chain(barrier.program)
    return all(_has(barrier.program, chain, rule) for rule in rules(instance))


def withdraw(barrier: Barrier, instance: str) -> None:
    """Take our rules away again."""
    if barrier.program is None or shutil.which(barrier.program) is None:
        return
    for chain in ("DOCKER-USER", "FORWARD"):
        for rule in rules(instance):
            while _has(barrier.program, chain, rule):
                if _iptables(barrier.program, "-D", chain, *rule).returncode:
                    break


def _program(barrier: Barrier) -> str:
    if barrier.program is None:
        raise NetworkFailed(
            f"Another program drops forwarded packets in {barrier.description}; accept those of the "
            f"interfaces {BRIDGES} there"
        )
    if shutil.which(barrier.program) is None:
        raise NetworkFailed(f"{barrier.description} drops forwarded packets; install iptables to change it")
    return barrier.program


def _operators_chain(program: str) -> str:
    # dockerd leaves DOCKER-USER alone and asks it first; elsewhere the head of FORWARD is as good.
    exists = _iptables(program, "-S", "DOCKER-USER").returncode == 0
    called = exists and "-j DOCKER-USER" in _iptables(program, "-S", "FORWARD").stdout
    return "DOCKER-USER" if called else "FORWARD"


def _has(program: str, chain: str, rule: Sequence[str]) -> bool:
    return _iptables(program, "-C", chain, *rule).returncode == 0


def _iptables(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, "--wait", "5", *arguments], capture_output=True, text=True, timeout=15, check=False
    )


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    lines = answer.stderr.strip().splitlines()
    return lines[0] if lines else f"exit code {answer.returncode}"
