"""Where a link in a checkpoint folder may lead, whose owner may be a stranger.

A link called vocab.txt to a user's secrets would put them into the catalog, as names of tokens.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# Of the Hub's cache, and of other stores that name a file by its content.
_CONTENT_ADDRESSED = re.compile(r"(?:sha256-)?(?:[0-9a-f]{40}|[0-9a-f]{64})")


def strange_link(folder: Path, file: str) -> str | None:
    """Where a link leads that no checkpoint needs: out of the folder, and to another name."""
    target = os.path.realpath(folder / file)
    inside = Path(target).is_relative_to(os.path.realpath(folder))
    name = os.path.basename(target)
    if inside or name == os.path.basename(file) or _CONTENT_ADDRESSED.fullmatch(name):
        return None
    return target
