"""Names of files that hold one device's part of the weights each."""

from __future__ import annotations

import re

# How files are named by the device that wrote them: xAI's …-TP-000, vLLM's model-rank-0-part-0, DeepSeek's
# model0-mp8, Meta's consolidated.00.pth, Megatron's mp_rank_00, and torch's own shard-00001-model-….
_RANKED = re.compile(
    r"(?i)(?:.*\D)?(\d{1,5})-mp\d{1,5}\.\w+|(?:.*/)?(?:shard-(\d{1,6})-.*|consolidated\.(\d{1,5})\..*)"
    r"|(?:^|.*[-_./])(?:tp|mp|(?:tp|mp)[-_]?rank|rank)[-_.]?(\d{1,5})(?:[-_./].*|$)"
)
_SHARED = re.compile(r"(?i)(?:^|.*[-_.])(?:tp|mp|rank)[-_.]?common[-_.].*")


def rank_of(file: str) -> int | None:
    """The number of the device that wrote a file, by its name; None if the name has none."""
    cut = _RANKED.fullmatch(file)
    return int(next(number for number in cut.groups() if number)) if cut else None


def is_of_ranks(file: str) -> bool:
    """Whether a file holds one device's weights, or the weights that all devices share."""
    return rank_of(file) is not None or _SHARED.fullmatch(file) is not None
