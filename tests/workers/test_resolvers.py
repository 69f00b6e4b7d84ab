"""What of the node's resolv.conf a container is told."""

from __future__ import annotations

from pathlib import Path

from workers.engine.resolvers import Resolvers, parse, read, render, stamp

STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\n"


def test_loopback_ipv6_and_broken_servers_are_left_out() -> None:
    servers = ("127.0.0.1", "::1", "fe80::1", "10.0.0.53 # mine", "", "x")
    text = "".join(f"nameserver {server}\n" for server in servers)
    assert parse(text).servers == ("10.0.0.53",)


def test_at_most_three_servers_are_told_each_once() -> None:
    text = "".join(f"nameserver 192.0.2.{host}\n" for host in (1, 1, 2, 3, 4))
    assert parse(text).servers == ("192.0.2.1", "192.0.2.2", "192.0.2.3")


def test_search_and_known_options_are_kept() -> None:
    assert parse("search a.example b.example .\noptions ndots:2 trust-ad rotate\n") == Resolvers(
        (), ("a.example", "b.example"), ("ndots:2", "rotate")
    )


def test_a_stub_on_loopback_is_passed_over_for_the_servers_behind_it(tmp_path: Path) -> None:
    stub, behind = tmp_path / "stub", tmp_path / "behind"
    stub.write_text(STUB)
    behind.write_text("nameserver 192.0.2.53\n")
    assert read([stub, behind]).servers == ("192.0.2.53",)
    assert read([stub, tmp_path / "absent"]).search == ("corp.example",)
    assert read([tmp_path / "absent"]) == Resolvers(())


def test_the_text_says_so_when_there_is_no_server() -> None:
    assert (
        render(Resolvers(("192.0.2.53",), ("a",), ("ndots:2",)))
        == "nameserver 192.0.2.53\nsearch a\noptions ndots:2\n"
    )
    assert render(Resolvers(())).startswith("# The node has no resolver")


def test_the_stamp_changes_with_the_file(tmp_path: Path) -> None:
    source = tmp_path / "resolv.conf"
    before = stamp([source])
    source.write_text(STUB)
    assert stamp([source]) != before
