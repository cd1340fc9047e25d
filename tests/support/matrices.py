"""Small matrices for tests: in every dtype, with rows planted bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from survey.numerics.dtypes import FLOATS
from survey.onepass.fold import fold
from survey.onepass.result import PassResult

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
CODES = {dtype: code for code, dtype in TORCH.items()}
WORDS = {"F64": torch.int64, "F32": torch.int32, "F16": torch.int16, "BF16": torch.int16}

# One element, as the integer of its bits; the sign is the highest bit, a quiet NaN sets the highest
# bit of the mantissa, a signalling one leaves it clear.
BITS = {
    "F64": {
        "nan": 0x7FF8000000000000,
        "nan, another payload": 0x7FF8000000000001,
        "signalling nan": 0x7FF0000000000001,
        "smallest": 1,
    },
    "F32": {
        "nan": 0x7FC00000,
        "nan, another payload": 0x7FC00001,
        "signalling nan": 0x7F800001,
        "smallest": 1,
    },
    "F16": {"nan": 0x7E00, "nan, another payload": 0x7E01, "signalling nan": 0x7C01, "smallest": 1},
    "BF16": {"nan": 0x7FC0, "nan, another payload": 0x7FC1, "signalling nan": 0x7F81, "smallest": 1},
}


def cloud(code: str, rows: int, dims: int) -> torch.Tensor:
    """Rows of length about 1 around a centre off the origin; always the same ones.

    In 16 bits a few elements do not tell thousands of rows apart: chance makes black holes too.
    """
    made = torch.Generator().manual_seed(rows * 1000 + dims)
    centre = 0.5 * torch.randn(dims, generator=made, dtype=torch.float64) + 0.25
    spread = torch.randn(rows, dims, generator=made, dtype=torch.float64)
    return ((centre + 0.5 * spread) / dims**0.5).to(TORCH[code])


def plant(tensor: torch.Tensor, row: int, pattern: str, dims: slice = slice(None)) -> None:
    """Write a pattern of BITS into elements of one row."""
    code = CODES[tensor.dtype]
    tensor.view(WORDS[code])[row, dims] = BITS[code][pattern]


def repeat(tensor: torch.Tensor, *holes: Sequence[int]) -> torch.Tensor:
    """The first row of each black hole copied onto its other rows."""
    for first, *others in holes:
        tensor[others] = tensor[first].clone()
    return tensor


def raw(tensor: torch.Tensor) -> bytearray:
    """Its bytes as they lie in a file: row by row, little endian."""
    return bytearray(tensor.contiguous().view(torch.uint8).numpy().tobytes())


@contextmanager
def folded(rows: Sequence[Sequence[float]], code: str = "F64") -> Iterator[PassResult]:
    """Literal rows after the one pass."""
    tensor = torch.tensor(rows, dtype=TORCH[code])
    with fold([raw(tensor)], FLOATS[code], (tensor.shape[0], tensor.shape[1]), "cpu") as result:
        yield result
