"""Readmes are written by strangers: what they may look like, and what they can never do."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from slipway.console.markdown import TAGS, render_markdown


class Seen(HTMLParser):
    """What a browser would make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def test_text_is_set_as_people_expect() -> None:
    html = render_markdown(
        "# Shop\n\n- *one*\n- `two`\n\n|a|b|\n|-|-|\n|1|2|\n\n~~gone~~ [site](https://example.org/x)"
    )
    assert "<h3>Shop</h3>" in html  # the page's own headings are above
    assert "<li><em>one</em></li>" in html
    assert "<td>1</td>" in html
    assert '<a href="https://example.org/x" rel="nofollow noopener noreferrer">site</a>' in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>1</script>)",
        "![x](https://tracker.example/pixel.png)",
        '<a href="https://example.org" onclick="x()">x</a>',
        "<style>body{display:none}</style>",
        "<iframe src=//example.org></iframe>",
        "<svg/onload=alert(1)>",
        "[x](vbscript:x)",
        "```html\n<script>x</script>\n```",
    ],
)
def test_nothing_of_it_runs_is_fetched_or_styles_the_page(text: str) -> None:
    seen = Seen()
    seen.feed(render_markdown(text))
    assert seen.tags <= TAGS
    assert {name for name, _ in seen.attributes} <= {"href", "rel"}
    for name, value in seen.attributes:
        assert name == "rel" or urlsplit(value or "").scheme in ("", "http", "https", "mailto")


def test_an_image_is_a_link_to_it() -> None:
    html = render_markdown("![the shop](https://example.org/shop.png)")
    assert '<a href="https://example.org/shop.png"' in html
    assert ">the shop</a>" in html


def test_deep_nesting_ends() -> None:
    assert render_markdown("> " * 5000 + "x")
    assert render_markdown("[" * 5000)
