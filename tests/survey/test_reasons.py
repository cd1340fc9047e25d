"""The page of reasons: an example of each, and the messages of the chooser word for word."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD, SINGLE, Stored, safetensors, single, stored
from support.in_memory_checkpoint import HeldCheckpoint

from survey.errors import REASONS, SurveyError
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reasons.md"
EXAMPLES = dict(
    re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", PAGE.read_text().partition("## What")[2], re.MULTILINE)
)
TABLE = stored(96, 8, dtype="BF16")
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
EXL3 = {"tie_word_embeddings": True, "quantization_config": {"quant_method": "exl3", "bits": 4}}

SHOWN: dict[str, dict[str, bytes]] = {
    "no-config": {SINGLE: safetensors({EMBED: TABLE})},
    "no-safetensors": {"config.json": b"{}", "rwkv.pth": b""},
    "no-head": single({EMBED: TABLE}, {"tie_word_embeddings": False}),
    "unknown-head": single({EMBED: TABLE, "model.zeta.weight": TABLE}, {"tie_word_embeddings": True}),
    "split-head": single({EMBED: TABLE, "lm_head.0.weight": TABLE}, {}),
    "quantised-head": single({EMBED: TABLE, "lm_head.trellis": stored(2, 2, dtype="I32")}, EXL3),
    "bad-pickle": {"config.json": b"{}", "pytorch_model.bin": b"<html><body>Not here</body></html>"},
    "index-mismatch": {
        "config.json": b"{}",
        FIRST: safetensors({EMBED: TABLE, HEAD: TABLE}),
        SECOND: safetensors({HEAD: TABLE}),
    },
    "unsupported-dtype": single({HEAD: Stored("F8_E4M3FNUZ", (6, 4), bytes(24))}, {}),
}  # fmt: skip


def test_every_reason_has_an_example() -> None:
    assert EXAMPLES.keys() == REASONS.keys()


@pytest.mark.parametrize(("reason", "files"), SHOWN.items(), ids=SHOWN)
def test_the_page_shows_what_a_refusal_says(reason: str, files: dict[str, Any]) -> None:
    checkpoint = HeldCheckpoint(files)
    with pytest.raises(SurveyError) as caught:
        locate(lay_out(checkpoint), "output")
    assert (caught.value.reason, caught.value.problem) == (reason, EXAMPLES[reason])
