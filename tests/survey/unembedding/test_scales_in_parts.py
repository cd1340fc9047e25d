"""Matrices in 8 bits that are stored in parts: each part with its own scale."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.checkpoints import CONFIG, Stored, safetensors, single, stored, write
from support.reference import assert_equal, reference
from support.scaled_matrices import (
    DIMS,
    HOLES,
    ROWS,
    factors,
    in_8_bits,
    located,
    measured,
)

from survey.errors import NotThere

HALF = ROWS // 2
LEFT, RIGHT = slice(0, DIMS // 2), slice(DIMS // 2, DIMS)
SIZED = CONFIG | {"vocab_size": ROWS, "hidden_size": DIMS}


def in_parts(words: NDArray[np.uint8], scales: list[Stored], *, columns: bool = False) -> dict[str, bytes]:
    """Two files of devices, each with its part and its own scale."""
    parts = [words[:, LEFT], words[:, RIGHT]] if columns else [words[:HALF], words[HALF:]]
    files = {"config.json": json.dumps(SIZED).encode()}
    for number, (part, scale) in enumerate(zip(parts, scales, strict=True)):
        tensors = {"lm_head.weight": Stored("F8_E4M3", part.shape, np.ascontiguousarray(part).tobytes())}
        files[f"model{number}-mp2.safetensors"] = safetensors(tensors | {"lm_head.weight_scale": scale})
    return files


OF_PARTS: dict[str, tuple[tuple[int, ...], bool, str]] = {
    "one number a part": ((1,), False, "part, tensor"),
    "a number a row": ((HALF, 1), False, "part, row"),
    "a vector": ((HALF,), False, "part, row"),
    "tiles": ((3, 3), False, f"part, {HALF // 3}×{DIMS // 3}"),
    "columns, one number a part": ((), True, "part, tensor"),
    "columns, a number a row": ((ROWS, 1), True, "part, row"),
}


@pytest.mark.parametrize(("shape", "columns", "per"), OF_PARTS.values(), ids=OF_PARTS.keys())
def test_each_part_of_a_matrix_is_scaled_by_its_own_scale(
    tmp_path: Path, shape: tuple[int, ...], columns: bool, per: str
) -> None:
    words = in_8_bits("F8_E4M3", ROWS, DIMS, *HOLES)
    (first, one), (second, other) = factors(*shape), factors(*shape)
    other = Stored("F32", shape, (second := np.asarray(second, "<f4") * 3).tobytes())
    config = {"quantization_config": {"weight_block_size": [HALF // 3, DIMS // 3]}} if "×" in per else {}
    files = in_parts(words, [one, other], columns=columns)
    write(tmp_path, files | {"config.json": json.dumps(SIZED | config).encode()})
    whole = np.empty((ROWS, DIMS))
    for made, rows, dims in zip(
        (np.asarray(first, np.float64), np.asarray(second, np.float64)),
        [slice(ROWS)] * 2 if columns else [slice(HALF), slice(HALF, ROWS)],
        [LEFT, RIGHT] if columns else [slice(DIMS)] * 2,
        strict=True,
    ):
        part = whole[rows, dims]
        table = made.reshape(shape if len(shape) == 2 else (-1, 1))
        part[:] = np.repeat(
            np.repeat(table, part.shape[0] // table.shape[0], axis=0), part.shape[1] // table.shape[1], axis=1
        )
    assert located(tmp_path).identity.scale == f"lm_head.weight_scale per {per}"
    assert_equal(measured(tmp_path), reference(words.tobytes(), "F8_E4M3", (ROWS, DIMS), whole))


def numbered(*scales: tuple[str, Stored]) -> dict[str, bytes]:
    words = in_8_bits("F8_E4M3", ROWS, DIMS, *HOLES)
    parts = {
        f"lm_head.{number}.weight": Stored("F8_E4M3", (HALF, DIMS), words[part].tobytes())
        for number, part in enumerate([slice(HALF), slice(HALF, ROWS)])
    }
    return single(parts | dict(scales), SIZED)


def test_parts_with_numbers_have_scales_with_numbers(tmp_path: Path) -> None:
    files = numbered(("lm_head.0.weight_scale", stored(1)), ("lm_head.1.weight_scale", stored(1)))
    identity = located(write(tmp_path, files)).identity
    assert identity.scale == "lm_head.0.weight_scale + lm_head.1.weight_scale per part, tensor"


def test_one_scale_may_serve_all_parts(tmp_path: Path) -> None:
    files = numbered(("lm_head.weight_scale", stored(ROWS, 1)))
    assert located(write(tmp_path, files)).identity.scale == "lm_head.weight_scale per row"


UNSCALED: dict[str, tuple[dict[str, bytes], str]] = {
    "a part without one": (numbered(("lm_head.1.weight_scale", stored(1))), "split-head"),
    "a part's and the whole's": (
        numbered(*((name, stored(1)) for name in ("lm_head.0.weight_scale", "lm_head.1.weight_scale", "lm_head.weight_scale"))),
        "quantised-head",
    ),
    "of several kinds": (
        numbered(("lm_head.0.weight_scale", stored(HALF, 1)), ("lm_head.1.weight_scale", stored(1))),
        "quantised-head",
    ),
    "of several dtypes": (
        numbered(("lm_head.0.weight_scale", stored(1)), ("lm_head.1.weight_scale", stored(1, dtype="BF16"))),
        "quantised-head",
    ),
    "numbered behind the name": (
        numbered(("lm_head.weight_scale.0", stored(1)), ("lm_head.weight_scale.1", stored(1))),
        "quantised-head",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "reason"), UNSCALED.values(), ids=UNSCALED.keys())
def test_a_part_whose_scale_is_open_is_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(NotThere) as caught:
        located(write(tmp_path, files))
    assert caught.value.reason == reason
