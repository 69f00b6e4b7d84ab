"""Names for containers nobody named: two words, as on a Docker host."""

from __future__ import annotations

import secrets

_ADJECTIVES = (
    "able amber bold brave bright brisk calm candid clear clever cosy crisp daring deft eager early "
    "easy fair fleet fond frank fresh gentle glad golden grand happy hardy honest humble jolly keen "
    "kind light lively loyal lucid mellow merry mild neat nimble noble patient placid plucky polite "
    "proud quick quiet ready regal serene sharp silent smart snug sober solid steady stout sunny "
    "swift tidy true vivid warm wise witty young zesty"
)
_NOUNS = (
    "anchor ballast barge batten beacon bosun bow brig buoy cable capstan cargo chart cleat clipper "
    "compass coxswain crane current cutter davit deck dinghy dock estuary ferry fjord frigate galleon "
    "gangway harbor hatch hawser helm hull isle jetty keel ketch lagoon lantern lighthouse lugger "
    "marina mast mooring navigator oar pennant pier pilot pontoon port quay raft reef rigging rudder "
    "sail schooner sextant sloop sounder spar spray stern tide tiller trawler tug voyage wave wharf "
    "winch yawl"
)
ADJECTIVES = tuple(_ADJECTIVES.split())
NOUNS = tuple(_NOUNS.split())


def random_name() -> str:
    """One of about five thousand; the caller makes it unique."""
    return f"{secrets.choice(ADJECTIVES)}_{secrets.choice(NOUNS)}"


def random_long_name() -> str:
    """For projects where the short ones run out."""
    return f"{random_name()}_{secrets.token_hex(3)}"
