"""The version of what lies below ``<data>``: what an older Slipway must not touch, and a newer one converts.

It changes when files or keys are laid out in a new way; the database has its migrations for that.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from slipway.operations.errors import FormatUnknown

FORMAT = 1
"""What this checkout reads and writes."""


def file() -> Path:
    return Path(settings.SLIPWAY_PLATFORM_DATA) / "format"


def read() -> int | None:
    """Of the data here; None before the first start. Data without a note is of the first format."""
    if not Path(settings.SLIPWAY_KEYS).is_dir():
        return None
    try:
        return int(file().read_text(encoding="ascii"))
    except FileNotFoundError:
        return 1
    except ValueError as error:
        raise FormatUnknown(f"{file()} holds no number; it should say {FORMAT}.") from error


def require() -> None:
    """Raise ``FormatUnknown`` before anything touches data that a newer Slipway wrote."""
    found = read() or FORMAT
    if found > FORMAT:
        raise FormatUnknown(
            f"The data in {settings.SLIPWAY_DATA} is of format {found}; this Slipway knows up to"
            f" {FORMAT}. Use the newer checkout, or restore a backup of before."
        )


def note() -> None:
    """Write down that the data is of our format, if it is not noted yet. Safe to repeat."""
    if not file().exists():
        file().write_text(f"{FORMAT}\n", encoding="ascii")
