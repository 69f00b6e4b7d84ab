"""Recipes: images made on the node from the distribution's own packages, without any registry.

``roots`` make a root filesystem from nothing, ``programs`` are what is installed on Debian's (``installs``).
"""

from __future__ import annotations

from workers.engine.recipes.installs import Install, install
from workers.engine.recipes.programs import PROGRAMS
from workers.engine.recipes.roots import ROOTS, bake

NAMES = (*ROOTS, *PROGRAMS)
ROOT_OF_PROGRAMS = "debian"

__all__ = ["NAMES", "PROGRAMS", "ROOTS", "ROOT_OF_PROGRAMS", "Install", "bake", "install"]
