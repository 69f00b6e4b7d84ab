from __future__ import annotations

import pytest

from workers.engine.aptsources import release_of, sources_for
from workers.errors import NodeError

DEB822 = """\
# the distribution
Types: deb deb-src
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://vendor.example.org/apt
Suites: stable
Components: main

Types: deb
Enabled: no
URIs: http://off.example.org/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
deb [signed-by=/k.gpg arch=amd64] http://mirror.example.org/debian bookworm main non-free
deb cdrom:[Debian]/ bookworm main
deb-src http://mirror.example.org/debian bookworm main
deb http://mirror.example.org/security bookworm-security main
"""


def test_only_the_release_itself_is_kept_of_deb822_sources() -> None:
    assert sources_for("bookworm", [DEB822]) == (
        "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_one_line_sources_keep_their_key_and_architecture() -> None:
    assert sources_for("bookworm", [ONE_LINE]) == (
        "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By: /k.gpg\nArchitectures: amd64\n\n"
        "Types: deb\nURIs: http://mirror.example.org/security\nSuites: bookworm-security\nComponents: main\n"
    )


def test_a_node_without_a_fitting_source_is_told_so() -> None:
    with pytest.raises(NodeError, match="offers Debian trixie"):
        sources_for("trixie", [DEB822, ONE_LINE])


def test_the_release_is_the_nodes_own() -> None:
    assert release_of('ID=debian\nVERSION_CODENAME="bookworm"\n') == "bookworm"
    with pytest.raises(NodeError, match="not Debian"):
        release_of("ID=fedora\nVERSION_CODENAME=\n")
