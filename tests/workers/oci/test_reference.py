from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import InvalidReference
from workers.oci.reference import Reference

SHA = "sha256:" + "ab" * 32

component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
registry = st.sampled_from(
    ["index.docker.io/", "docker.io/", "localhost/", "localhost:5000/", "r.example.org/", "[::1]:5000/"]
)


@pytest.mark.parametrize(
    ("text", "normal", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("team/web", "docker.io/team/web:latest", "team/web:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/team/web:v1", "docker.io/team/web:v1", "team/web:v1"),
        ("localhost/web", "localhost/web:latest", "localhost/web:latest"),
        ("r.example.org:5000/a/b/c:x", "r.example.org:5000/a/b/c:x", "r.example.org:5000/a/b/c:x"),
        (f"web@{SHA}", f"docker.io/library/web@{SHA}", f"web@{SHA}"),
        (f"web:1@{SHA}", f"docker.io/library/web:1@{SHA}", f"web:1@{SHA}"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ],
)
def test_names_are_filled_in_as_docker_does(text: str, normal: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == normal
    assert reference.familiar == familiar


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "lower-case"),
        ("Web", "lower case"),
        ("web:", "tag"),
        ("web:" + "x" * 129, "tag"),
        ("web:1/2:", "tag"),
        ("a//b", "lower-case"),
        ("../etc", "host name"),
        ("a/../b", "lower-case"),
        ("-web", "lower-case"),
        ("web_", "lower-case"),
        ("we..b", "lower-case"),
        ("web@sha256:12", "digest"),
        ("ex ample.org/web", "host name"),
        ("web\n", "lower-case"),
        ("a" * 64, "image id"),
        ("a/" + "b" * 260, "255"),
    ],
)
def test_what_is_no_reference_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidReference, match=why):
        Reference.parse(text)


@given(registry, st.lists(component, min_size=1, max_size=3), st.none() | tag)
def test_normal_and_familiar_form_name_the_same(host: str, parts: list[str], name: str | None) -> None:
    text = host + "/".join(parts) + (f":{name}" if name else "")
    reference = Reference.parse(text)
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@given(st.text(max_size=80))
def test_any_text_parses_stably_or_is_refused_by_the_right_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.repository.split("/")
