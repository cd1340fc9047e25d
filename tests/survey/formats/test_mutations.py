"""10,000 mutated headers, zips, pickles and indexes: a measured model or a SurveyError, nothing else.

The examples are the same in every run. Whatever a file claims, no read leaves the repository and no
claim is believed before it is checked: memory stays where it was.
"""

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.checkpoints import CONFIG, INDEX, SINGLE, safetensors, sharded, stored, with_length
from support.in_memory_checkpoint import HeldCheckpoint
from support.pickles import archive

import survey
from survey.errors import SurveyError
from survey.opening import Matrix
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

HEAD, EMBED, NORM = "lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"
PLAIN = {EMBED: stored(6, 4), NORM: stored(4, dtype="BF16"), HEAD: stored(6, 4, seed=1)}
EIGHT_BITS = {HEAD: stored(6, 4, dtype="F8_E4M3"), "lm_head.weight_scale": stored(6, 1)}
CONFIG_JSON = json.dumps(CONFIG).encode()
MEMORY_BYTES = 256 << 20


def saved(zipped: bool) -> bytes:
    weight = torch.arange(24.0).view(6, 4)
    file = io.BytesIO()
    torch.save(
        {EMBED: weight, HEAD: weight.bfloat16(), NORM: weight[0]}, file, _use_new_zipfile_serialization=zipped
    )
    return file.getvalue()


def unzipped() -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(saved(True))) as opened:
        return {name.partition("/")[2]: opened.read(name) for name in opened.namelist()}


TENSORS, ZIP, LEGACY, MEMBERS = safetensors(PLAIN), saved(True), saved(False), unzipped()
SCALED = safetensors(EIGHT_BITS)
SHARDS = sharded([{EMBED: PLAIN[EMBED]}, {NORM: PLAIN[NORM], HEAD: PLAIN[HEAD]}])
BIN_SHARDS = {
    "config.json": CONFIG_JSON,
    "pytorch_model-00001-of-00001.bin": ZIP,
    "pytorch_model.bin.index.json": json.dumps(
        {"weight_map": dict.fromkeys([EMBED, HEAD, NORM], "pytorch_model-00001-of-00001.bin")}
    ).encode(),
}


MEASURED: set[tuple[str, tuple[int, int], bytes, str]] = set()


def outcome(contents: Mapping[str, bytes]) -> str:
    """`measured`, or the reason of a refusal, of both matrices; any other exception is a failure."""
    checkpoint = HeldCheckpoint(contents)
    outcomes = []
    try:
        layout = lay_out(checkpoint)
    except SurveyError as error:
        str(error).encode()
        return f"{error.reason} {error.reason}"
    for matrix in ("output", "input"):
        try:
            target = locate(layout, matrix)
            opened = Matrix(target, checkpoint)
            stored_bytes = b"".join(bytes(block) for block in opened.blocks())
            facts = (opened.dtype, opened.shape, stored_bytes, repr(opened.scale()))
            if facts not in MEASURED:  # the same bytes again would take most of the time
                survey.measure(opened, device="cpu")
                MEASURED.add(facts)
            outcomes.append("measured")
        except SurveyError as error:
            str(error).encode()
            outcomes.append(error.reason)
    return " ".join(outcomes)


# ---- mutations

NUMBERS = [0, 1, 2, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**31, 2**62, 2**63 - 1, 2**64 - 1]
WORDS = [number.to_bytes(size, "little") for number in NUMBERS for size in (1, 2, 4, 8) if number < 256**size]
OPCODES = [bytes([code]) for code in b"(.0123NRQtu})]abscdeghjlopqr" + bytes(range(0x80, 0x99))]
JSON_TOKENS = [
    *(json.dumps(number).encode() for number in NUMBERS),
    *(b"-1 2.0 1e999 -0 NaN null true [] {} [[]] [-1] [0,0] [6,4] [4,6] [96] , : [ ] { }".split()),
    *(b'"" "F32" "BF16" "F4" "F8_E4M3" "I8" "dtype" "shape" "data_offsets" "__metadata__"'.split()),
    *(json.dumps(name).encode() for name in (HEAD, EMBED, SINGLE, INDEX, "\ud800", "x" * 5000)),
    *(b'"../../etc/passwd" "/etc/passwd" "https://evil.example/x.safetensors" "..\\\\x.safetensors"'.split()),
    b'"\xff"',
    b"9" * 5000,
    b"[" * 3000,
]  # fmt: skip
TOKEN = re.compile(rb'"[^"]*"|-?\d+|[\[\]{},:]')


def cut_and_paste(text: bytes, at: int, length: int, pasted: bytes) -> bytes:
    at %= len(text) + 1
    return text[:at] + pasted + text[at + length :]


@st.composite
def mutated(draw: st.DrawFn, text: bytes, pasted: list[bytes]) -> bytes:
    """The text with up to three bytes or words changed, left out or put in, or cut."""
    for _ in range(draw(st.integers(1, 3))):
        what = draw(st.one_of(st.sampled_from(pasted), st.binary(max_size=3)))
        length = draw(st.sampled_from([len(what), len(what), 0, 1, 8, 10**6]))
        text = cut_and_paste(text, draw(st.integers(0, len(text))), length, what)
    return text


@st.composite
def retold(draw: st.DrawFn, text: bytes) -> bytes:
    """JSON with up to three of its tokens changed for others, or for another of its own."""
    for _ in range(draw(st.integers(1, 3))):
        tokens = list(TOKEN.finditer(text))
        if not tokens:
            return text
        token = draw(st.sampled_from(tokens))
        other = draw(st.sampled_from(JSON_TOKENS) | st.sampled_from(tokens).map(re.Match.group))
        text = text[: token.start()] + other + text[token.end() :]
    return text


def tensors_of(json_text: bytes, whole: bytes) -> bytes:
    """A file with another header, the length of which is right."""
    start = 8 + int.from_bytes(whole[:8], "little")
    return with_length(json_text) + whole[start:]


def json_of(whole: bytes) -> bytes:
    return whole[8 : 8 + int.from_bytes(whole[:8], "little")]


def single(content: bytes) -> dict[str, bytes]:
    return {"config.json": CONFIG_JSON, SINGLE: content}


def pickled(content: bytes) -> dict[str, bytes]:
    return {"config.json": CONFIG_JSON, "pytorch_model.bin": content}


KINDS: dict[str, tuple[int, Callable[[], Any]]] = {
    "header": (2500, lambda: retold(json_of(TENSORS)).map(lambda text: single(tensors_of(text, TENSORS)))),
    "header-of-8-bits": (500, lambda: retold(json_of(SCALED)).map(lambda text: single(tensors_of(text, SCALED)))),
    "header-by-bytes": (1000, lambda: mutated(TENSORS, WORDS).map(single)),
    "zip": (1500, lambda: mutated(ZIP, WORDS).map(pickled)),
    "zips-directory": (1000, lambda: mutated(ZIP[ZIP.index(b"PK\x01\x02") :], WORDS).map(lambda end: pickled(ZIP[: ZIP.index(b"PK\x01\x02")] + end))),
    "pickle": (1500, lambda: mutated(MEMBERS["data.pkl"], [*OPCODES, *WORDS]).map(lambda text: pickled(archive({**MEMBERS, "data.pkl": text})))),
    "before-1.6": (500, lambda: mutated(LEGACY, [*OPCODES, *WORDS]).map(pickled)),
    "index": (1000, lambda: retold(SHARDS[INDEX]).map(lambda text: {**SHARDS, INDEX: text})),
    "index-of-pickles": (250, lambda: retold(BIN_SHARDS["pytorch_model.bin.index.json"]).map(lambda text: {**BIN_SHARDS, "pytorch_model.bin.index.json": text})),
    "config": (250, lambda: retold(CONFIG_JSON).map(lambda text: {**single(TENSORS), "config.json": text})),
}  # fmt: skip


@pytest.fixture
def peak() -> Callable[[], int]:
    """Bytes that this process has held more than at the start of the test, at most."""
    status, mark = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not mark.exists():
        pytest.skip("only Linux tells a process's peak of memory")

    def read(name: str) -> int:
        return int(re.search(rf"{name}:\s+(\d+) kB", status.read_text())[1]) << 10  # type: ignore[index]

    mark.write_text("5")  # the peak starts anew
    before = read("VmRSS")
    return lambda: read("VmHWM") - before


def test_there_are_ten_thousand_of_them_and_unchanged_they_are_measured() -> None:
    assert sum(count for count, _ in KINDS.values()) == 10_000
    assert outcome(single(TENSORS)) == "measured measured"
    assert outcome(single(SCALED)) == "measured no-head"
    for contents in (pickled(ZIP), pickled(LEGACY), pickled(archive(MEMBERS)), SHARDS, BIN_SHARDS):
        assert outcome(contents) == "measured measured"


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutation_ends_in_a_measured_model_or_a_refusal(kind: str, peak: Callable[[], int]) -> None:
    count, examples = KINDS[kind]
    outcomes: dict[str, int] = {}

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(examples())
    def check(contents: dict[str, bytes]) -> None:
        result = outcome(contents)
        outcomes[result] = outcomes.get(result, 0) + 1

    check()
    assert peak() < MEMORY_BYTES
    assert sum(outcomes.values()) >= count / 2  # hypothesis leaves out what it had already
    assert (
        "measured measured" in outcomes or "measured no-head" in outcomes
    )  # the mutations are no mere noise
    assert len(outcomes) > 1
    assert not any("internal" in reason for reason in outcomes)
