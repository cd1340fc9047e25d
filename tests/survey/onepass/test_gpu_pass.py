"""What a GPU computes, in Triton's interpreter on the CPU: the same bits as the compiled loops'."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.matrices import cloud, plant, raw, repeat
from support.pass_bits import pass_bits

from survey.numerics.dtypes import FLOATS
from survey.onepass import fold as one_pass
from survey.onepass.device import DeviceRows
from survey.records.blocks import Block

pytest.importorskip("triton", reason="Triton is not installed: kernels of the GPU are not tested")
from survey.onepass.cuda import batch_sums, batches

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of NaN and overflow in kernels


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cuda` is the interpreter, with few and large programs: each takes as long as many rows would."""
    gpu_pass = batches.GpuPass
    monkeypatch.setattr(
        batches, "GpuPass", lambda decoder, rows, device, take: gpu_pass(decoder, rows, "cpu", take)
    )
    monkeypatch.setattr(DeviceRows, "device", "cuda")
    for name, value in {
        "FOLD_ROWS": 256,
        "HASH_ROWS": 256,
        "GROUP_DIMS": 256,
        "COUNT_BLOCK": 1 << 16,
    }.items():
        monkeypatch.setattr(batch_sums, name, value)
    monkeypatch.setattr(batches, "batch_rows", lambda vocab_rows, row_bytes: 1024)


def folded(source: Iterable[Block], code: str, shape: tuple[int, int], device: str) -> dict[str, Any]:
    with one_pass.fold(source, FLOATS[code], shape, device, threads=2) as result:
        return pass_bits(result)


def cut(stored: bytearray, block_bytes: int = 40_001) -> Iterable[Block]:
    return (stored[start : start + block_bytes] for start in range(0, len(stored), block_bytes))


def chance(code: str, rows: int, dims: int) -> torch.Tensor:
    """Words of all bits: NaN of every payload, infinities, both zeros, tiny values; and some equal rows."""
    made = np.random.default_rng(rows + dims)
    words = made.integers(0, 256, (rows, dims * FLOATS[code].item_bytes), dtype=np.uint8)
    words[3::20] = words[min(3, rows - 1)]
    made_of: torch.dtype = getattr(torch, FLOATS[code].torch_name)
    return torch.from_numpy(words).view(made_of)


def one_magnitude(code: str, rows: int, dims: int) -> torch.Tensor:
    """Black holes in and across chunks; all rows are summed together."""
    made = cloud("F64", rows, dims).to(getattr(torch, FLOATS[code].torch_name))
    return repeat(made, [3, 40], [9, rows - 1], [10, 11, 12]) if rows > 40 else made


def several_magnitudes(code: str, rows: int, dims: int) -> torch.Tensor:
    """Rows that are summed apart, zero rows, and rows that are not finite."""
    made = one_magnitude(code, rows, dims)
    made[5::7] *= {"F64": 1e-200, "F32": 1e-30, "F16": 1e-4, "BF16": 1e-30}[code]
    made[20], made[21], made[30] = 0.0, -0.0, torch.inf
    plant(made, 31, "nan")
    plant(made, 32, "smallest")
    return made


def exact_in_shorter_dtypes(code: str, rows: int, dims: int) -> torch.Tensor:
    """Rows of 8 bits, of bfloat16, of float16 and of the format itself, and one of each alone."""
    made = cloud("F64", rows, dims).to(torch.float32)
    for start, dtype in enumerate((torch.float8_e4m3fn, torch.bfloat16, torch.float16)):
        made[start::5] = made[start::5].to(dtype).to(torch.float32)
    return made.to(getattr(torch, FLOATS[code].torch_name))


def of_8_bits(code: str, rows: int, dims: int) -> torch.Tensor:
    return (
        cloud("F32", rows, dims)
        .to(torch.float8_e4m3fn)
        .to(torch.float32)
        .to(getattr(torch, FLOATS[code].torch_name))
    )


BY_HASH = [
    pytest.param(37, 264, id="rows hashed on the GPU"),
    pytest.param(35, 5, id="rows hashed on the CPU"),
]


def same_from_both(tensor: torch.Tensor, code: str) -> None:
    """From the host's memory and from the GPU's a tensor has the bits that compiled loops give it."""
    stored, shape = raw(tensor), (tensor.shape[0], tensor.shape[1])
    expected = folded([stored], code, shape, "cpu")
    assert folded(cut(stored), code, shape, "cuda") == expected
    assert folded(DeviceRows(tensor), code, shape, "cuda") == expected


@pytest.mark.parametrize("code", FLOATS)
@pytest.mark.parametrize(("rows", "dims"), BY_HASH)
def test_words_of_chance_have_the_bits_of_the_cpu(rows: int, dims: int, code: str) -> None:
    same_from_both(chance(code, rows, dims), code)


@pytest.mark.parametrize("make", [exact_in_shorter_dtypes, of_8_bits])
@pytest.mark.parametrize("code", ["F64", "F32", "F16", "BF16"])
def test_values_are_named_as_on_the_cpu(make: Callable[[str, int, int], torch.Tensor], code: str) -> None:
    same_from_both(make(code, 40, 136), code)


@pytest.mark.parametrize("make", [one_magnitude, several_magnitudes])
@pytest.mark.parametrize("code", ["F64", "F32", "F16", "BF16"])
def test_rows_of_one_magnitude_and_of_several_have_the_bits_of_the_cpu(
    make: Callable[[str, int, int], torch.Tensor], code: str
) -> None:
    same_from_both(make(code, 100, 128), code)


@pytest.mark.parametrize(
    ("rows", "dims"),
    [
        pytest.param(1, 300, id="one row"),
        pytest.param(50, 1, id="one column"),
        pytest.param(1024, 128, id="one chunk exactly"),
        pytest.param(4 * 1024 + 33, 3, id="more batches than buffers, and a rest"),
    ],
)
def test_shapes_at_the_edges_have_the_bits_of_the_cpu(rows: int, dims: int) -> None:
    same_from_both(one_magnitude("BF16", rows, dims), "BF16")


def test_a_tensor_whose_rows_lie_apart_is_measured_where_it_is() -> None:
    tensor = cloud("F32", 40, 200)
    expected = folded([raw(tensor[:, 1:131].contiguous())], "F32", (40, 130), "cpu")
    assert folded(DeviceRows(tensor[:, 1:131]), "F32", (40, 130), "cuda") == expected


def test_an_error_of_the_stream_ends_the_pass() -> None:
    def broken() -> Iterable[Block]:
        yield raw(cloud("BF16", 1024, 4))
        raise OSError("the connection broke")

    with pytest.raises(OSError, match="the connection broke"):
        folded(broken(), "BF16", (4096, 4), "cuda")


def test_a_stream_of_fewer_rows_is_an_error() -> None:
    with pytest.raises(AssertionError, match="delivers every row"):
        folded([raw(cloud("BF16", 1024, 4))], "BF16", (1025, 4), "cuda")


# ---- what the interpreter does not see


COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from survey.onepass.cuda import kernels

def show(kernel, constants, **types):
    signature = {name: types.get(name, "i32") for name in kernel.arg_names} | dict.fromkeys(constants, "constexpr")
    constants = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    print(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=kernels.LAUNCH).asm["ptx"])

show(
    kernels.fold_rows, {"FORMAT": "BF16", "ROWS": 8, "LANES": 256}, stored="*i16", table="*fp64", signs="*fp64",
    squared="*fp64", scales="*fp64", projected="*fp32", fine="*i16",
)
for of in ("values", "squares", "units"):
    show(
        kernels.add_groups, {"FORMAT": "F32", "MASKED": True, "OF": of, "DIMS": 128}, stored="*i32",
        table="*fp64", kept="*i8", squared="*fp64", scales="*fp64", groups="*fp64",
    )
"""


def test_no_product_is_fused_with_a_sum_and_no_tiny_value_is_flushed(tmp_path: Path) -> None:
    """As a GPU's compiler takes the kernels; in a process of its own, as here they are interpreted."""
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, check=True, capture_output=True, text=True
    )
    assert len(re.findall(r"\badd\.(?:rn\.)?f64", ran.stdout)) > 100
    assert not re.findall(r".*(?:\bfma\.|\.ftz|\.approx).*", ran.stdout)
