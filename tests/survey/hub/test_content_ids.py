"""What the Hub states of a file's content, and how far it is a proof of equal bytes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from support.in_memory_checkpoint import HeldCheckpoint

from jobs.demo.hub.local_hub import Fault, LocalHub, WithHeaders
from survey.hub.documents import content_ids
from survey.hub.repositories import resolve
from survey.records.settings import Settings
from survey.records.target import Target
from survey.records.tensors import ByteRange, Piece, ScaleSpec, TensorSpec
from survey.targets.content_key import NAMES, content_key, tokenizer_key

SHA256, BLOB = "5" * 64, "b" * 40
LARGE = {"rfilename": "model.safetensors", "size": 9, "blobId": BLOB, "lfs": {"sha256": SHA256, "size": 9}}
SMALL = {"rfilename": "vocab.txt", "size": 9, "blobId": BLOB}


def test_a_large_file_is_known_by_its_sha256_and_another_by_its_id_in_git() -> None:
    assert content_ids([LARGE, SMALL], "https://hub", "org/m") == {
        "model.safetensors": f"https://hub sha256:{SHA256}",
        "vocab.txt": f"https://hub org/m git:{BLOB}",
    }


def test_an_id_of_git_counts_within_its_repository() -> None:
    one, other = (content_ids([LARGE, SMALL], "https://hub", repo) for repo in ("org/m", "other/m"))
    assert one["model.safetensors"] == other["model.safetensors"]
    assert one["vocab.txt"] != other["vocab.txt"]


@pytest.mark.parametrize(
    "entry",
    [
        {**LARGE, "lfs": {"sha256": SHA256[:-1]}},
        {**LARGE, "lfs": {"sha256": SHA256.replace("5", "g")}},
        {**LARGE, "lfs": {"sha256": f"{SHA256}\n"}},
        {**LARGE, "lfs": {"sha256": None}},
        {**LARGE, "lfs": {"sha256": [SHA256]}},
        {**LARGE, "lfs": {}},
        {**LARGE, "lfs": SHA256},
        {**LARGE, "lfs": False},
        {**SMALL, "blobId": SHA256},
        {**SMALL, "blobId": None},
        {"rfilename": "vocab.txt"},
        {"rfilename": 7, "lfs": {"sha256": SHA256}},
        "vocab.txt",
        None,
    ],
    ids=str,
)
def test_what_is_no_digest_states_nothing(entry: Any) -> None:
    assert content_ids([entry], "https://hub", "org/m") == {}


class StatedCheckpoint(HeldCheckpoint):
    """Each file's content is its name, unless it is unknown."""

    def content_id(self, file: str) -> str | None:
        return None if file == "unknown" else file


CHECKPOINT = StatedCheckpoint({})
WHOLE = TensorSpec("lm_head.weight", "a", "BF16", (4, 2), ByteRange(8, 24))
HALVES = replace(
    WHOLE,
    pieces=(
        Piece(TensorSpec("0", "a", "BF16", (2, 2), ByteRange(8, 16)), 0, 0),
        Piece(TensorSpec("1", "b", "BF16", (2, 2), ByteRange(8, 16)), 2, 0),
    ),
)
SCALE = ScaleSpec(TensorSpec("scale", "a", "F32", (1,), ByteRange(24, 28)), 28, (1, 1), (4, 2), "tensor")
VALUES: dict[str, Any] = {
    "dtype": "F16", "shape": (2, 4), "bytes": ByteRange(8, 25), "pieces": HALVES.pieces,
    "tensor": HALVES, "row": 1, "column": 1, "start": 9, "stop": 23,
    "file_bytes": 29, "divides": True, "tiles": (2, 2), "tile": (2, 2), "per": "row",
}  # fmt: skip


@pytest.mark.parametrize("record", [WHOLE, SCALE, HALVES.pieces[0]], ids=lambda record: type(record).__name__)
def test_every_field_but_names_is_in_the_key(record: Any) -> None:
    """Also a field that is added later: then this test lacks a value for it."""

    def key(changed: Any) -> str | None:
        spec, scale = WHOLE, None
        if isinstance(changed, TensorSpec):
            spec = changed
        elif isinstance(changed, Piece):
            spec = replace(HALVES, pieces=(changed, HALVES.pieces[1]))
        else:
            scale = changed
        return content_key(CHECKPOINT, spec, scale)

    for field in fields(record):
        changed = replace(record, **{field.name: "z" if field.name in NAMES else VALUES[field.name]})
        is_same = key(changed) == key(record)
        assert is_same == (field.name == "name"), field.name


@pytest.mark.parametrize(
    ("spec", "scale"),
    [
        (replace(WHOLE, file="unknown"), None),
        (replace(HALVES, pieces=(HALVES.pieces[0], replace(HALVES.pieces[1], tensor=replace(WHOLE, file="unknown")))), None),
        (WHOLE, replace(SCALE, tensor=replace(SCALE.tensor, file="unknown"))),
    ],
    ids=["the file", "a piece's file", "the scale's file"],
)  # fmt: skip
def test_a_file_of_unknown_content_gives_no_key(spec: TensorSpec, scale: ScaleSpec | None) -> None:
    assert content_key(CHECKPOINT, spec, scale) is None


def test_what_a_target_adds_to_its_matrix_decides_no_figure() -> None:
    """A field that is added later must get into the key, or into this list."""
    of_the_model = {"identity", "folder", "rule", "files", "repo_bytes", "pattern", "listed_in", "part"}
    of_the_run = {"planning", "memory_bytes", "versions", "tokenizer_files", "tokenizer_contents"}
    of_the_run |= {"spectrum_bytes", "only_spectrum"}
    keys = {"content_key", "tokenizer_key", "same_as"}
    assert {field.name for field in fields(Target)} - of_the_model - of_the_run - keys == {"spec", "scale"}


def test_a_tokenizer_is_known_by_the_names_and_contents_of_its_files() -> None:
    keys = [tokenizer_key(CHECKPOINT, files) for files in ([], ["a/vocab.json"], ["b/vocab.json"])]
    assert None not in keys
    assert len(set(keys)) == 3
    assert tokenizer_key(CHECKPOINT, ["a/vocab.json", "unknown"]) is None


@pytest.mark.parametrize(
    ("tag", "is_proof"),
    [("same", True), ("6" * 64, False), (None, True)],
    ids=["the same", "another", "none"],
)
def test_a_listing_that_the_file_contradicts_is_no_proof(
    hub: LocalHub, tag: str | None, is_proof: bool
) -> None:
    hub.add_repo("org/m", {"config.json": b"{}", "model.safetensors": save({"a": np.zeros(1)})})
    checkpoint = resolve("org/m", None, Settings(endpoint=hub.endpoint))
    stated = checkpoint.content_id("model.safetensors")
    assert stated is not None
    if tag != "same":
        hub.faults = [
            Fault(WithHeaders({"X-Linked-Etag": tag}), server="hub", path_contains="resolve", times=None)
        ]
    checkpoint.read_range("model.safetensors", ByteRange(0, 8))
    assert checkpoint.content_id("model.safetensors") == (stated if is_proof else None)
