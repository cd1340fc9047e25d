"""Numbers with their units, as text for a person."""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """A number of bytes in powers of ten, such as "1.2 GB"; below 1,000 exact, such as "999 B"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
