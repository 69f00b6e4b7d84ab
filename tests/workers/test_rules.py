"""The packet rules as text, against the golden file that a person has read."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.engine.rules import (
    Egress,
    Segment,
    add_segment,
    find_segment,
    intact,
    mark,
    remove,
    render,
    table_name,
)
from workers.errors import NetworkFailed

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "rules.nft"
EGRESS = Egress(("10.0.0.0/8", "192.168.0.0/16"), ("10.1.2.0/24",), ("10.0.0.53",))
SHOP = Segment("sw0123456789", "10.87.3.0/24")
BLOG = Segment("sw9876543210", "10.87.4.0/24")


def test_the_table_is_as_the_golden_file_says() -> None:
    assert (
        render("slipway", EGRESS, [BLOG, SHOP, SHOP]).replace(mark(EGRESS), "rules <mark>")
        == GOLDEN.read_text()
    )


def test_no_rule_names_a_project() -> None:
    def rules_of(segments: list[Segment]) -> list[str]:
        return [
            line for line in render("slipway", EGRESS, segments).splitlines() if not line.startswith("  set")
        ]

    assert rules_of([]) == rules_of([SHOP, BLOG])


def test_a_project_is_one_element_of_each_set() -> None:
    assert add_segment("slipway", SHOP) == (
        'add element inet slipway bridges { "sw0123456789" }\n'
        'add element inet slipway members { "sw0123456789" . 10.87.3.0/24 }\n'
    )
    assert find_segment("slipway", SHOP) == add_segment("slipway", SHOP).replace("add", "get")


def test_removal_needs_no_table() -> None:
    assert remove("slipway") == "table inet slipway {}\ndelete table inet slipway\n"


def test_the_mark_changes_with_the_policy() -> None:
    assert mark(EGRESS) != mark(Egress(EGRESS.deny, (), EGRESS.resolvers))
    assert mark(EGRESS) == mark(Egress(list(EGRESS.deny), list(EGRESS.allow), list(EGRESS.resolvers)))


def test_a_listing_is_intact_until_a_rule_is_missing_or_the_mark_is_another() -> None:
    listing = render("slipway", EGRESS, [SHOP])
    assert intact(listing, EGRESS)
    assert not intact(listing.replace("    iifname . ip saddr @members return\n", ""), EGRESS)
    assert not intact(listing, Egress((), (), ()))
    assert not intact("table inet slipway {\n}\n", EGRESS)


@pytest.mark.parametrize(
    ("instance", "table"), [("slipway", "slipway"), ("9", "slipway-9"), ("ip", "slipway-ip")]
)
def test_every_instance_name_makes_a_table_name_that_nft_takes(instance: str, table: str) -> None:
    assert table_name(instance) == table


@pytest.mark.parametrize("instance", ["", "a b", "x;flush ruleset", "A", "a" * 41, "-x", "x\n"])
def test_an_instance_name_that_could_be_a_command_is_refused(instance: str) -> None:
    with pytest.raises(NetworkFailed, match="cannot name an instance"):
        table_name(instance)
