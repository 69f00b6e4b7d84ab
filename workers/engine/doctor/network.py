"""Whether packets can be filtered here, and get from a container to the world and back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from workers.checks import Check
from workers.engine import forwarding as firewalls
from workers.engine import resolvers as dns
from workers.engine.netlink import Netlink
from workers.engine.nftables import Nftables
from workers.engine.rules import Egress, Segment, find_segment, intact, remove, render, table_name
from workers.engine.wires import SOMEWHERE
from workers.errors import NetworkFailed

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def nftables() -> list[Check]:
    """Really loads rules like ours under another name, reads them back and removes them."""
    nft = Nftables()
    name = f"slipway-doctor-{os.getpid()}"
    egress = Egress(("10.0.0.0/8",), (), ("192.0.2.53",))
    segment = Segment("swdoctor", "192.0.2.0/24")
    try:
        nft.run(render(name, egress, [segment]))
        nft.run(find_segment(name, segment))
        if not intact(nft.listing(name) or "", egress):
            why = "the kernel lists other rules than were loaded"
            return [Check("nftables", "missing", why, "upgrade nftables to 1.0.6 or newer")]
    except NetworkFailed as error:
        fix = "apt-get install nftables; modprobe nf_tables nft_ct nft_masq nft_fib nft_reject_inet"
        return [Check("nftables", "missing", error.message, fix)]
    finally:
        nft.run(remove(name))
        nft.close()
    return [Check("nftables", "ok", "loaded, listed and removed a table")]


def forwarding(instance: str) -> list[Check]:
    return [_ip_forward(), *_firewalls(instance)]


def _ip_forward() -> Check:
    if _FORWARD.read_text().startswith("1"):
        return Check("ip_forward", "ok", "on")
    if os.access(_FORWARD, os.W_OK):
        return Check("ip_forward", "ok", "off; the first container switches it on")
    return Check("ip_forward", "degraded", "off, and not ours to change", "sysctl net.ipv4.ip_forward=1")


def _firewalls(instance: str) -> list[Check]:
    """Every chain of another program that drops what containers send."""
    nft = Nftables()
    try:
        found = firewalls.barriers(nft.base_chains(), table_name(instance)) + firewalls.legacy_barriers()
    finally:
        nft.close()
    if not found:
        return [Check("foreign firewalls", "ok", "none drops forwarded packets")]
    return [_firewall(barrier, instance) for barrier in found]


def _firewall(barrier: firewalls.Barrier, instance: str) -> Check:
    where = barrier.description
    if firewalls.admitted(barrier, instance):
        return Check("foreign firewalls", "ok", f"{where} drops by default; rules let containers through")
    why = f"{where} drops forwarded packets (dockerd does this): containers do not reach the world"
    if barrier.program:
        return Check("foreign firewalls", "degraded", why, "run the doctor with --fix")
    return Check("foreign firewalls", "degraded", why, f'accept iifname "sw*" and oifname "sw*" in {where}')


def uplink() -> list[Check]:
    with Netlink() as host:
        route = host.find_route(SOMEWHERE)
        link = host.find_link(socket.if_indextoname(route.link)) if route else None
    if link is None:
        why = "there is no route to the world; containers reach each other only"
        return [Check("uplink", "degraded", why, "set a default route")]
    return [Check("uplink", "ok", f"{link.name}, MTU {link.mtu}")]


def resolvers() -> list[Check]:
    servers = dns.read().servers
    if servers:
        return [Check("resolvers", "ok", ", ".join(servers))]
    why = "none that a container can reach (IPv4, not on a loopback address): names do not resolve there"
    return [Check("resolvers", "degraded", why, "name an upstream server in /etc/resolv.conf")]


def let_through(instance: str) -> list[str]:
    """Do what the lines above advise; what was done, in words."""
    done = []
    nft = Nftables()
    try:
        found = firewalls.barriers(nft.base_chains(), table_name(instance)) + firewalls.legacy_barriers()
    finally:
        nft.close()
    for barrier in found:
        if not firewalls.admitted(barrier, instance):
            try:
                firewalls.admit(barrier, instance)
                done.append(f"foreign firewalls: let containers through {barrier.description}")
            except NetworkFailed as error:
                done.append(f"foreign firewalls: {error.message}")
    return done
