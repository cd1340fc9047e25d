"""The demo's quantised twins are what the tools make of a planted model."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from support.kinships import trained

from jobs.demo.checkpoints import planted
from jobs.demo.twins import MLX_BITS, MLX_GROUP, TWINS, Twin, mlx_affine, write_twin

DTYPES = [torch.bfloat16, torch.float16, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_levels_scales_and_biases_are_mlxs_own(dtype: torch.dtype) -> None:
    mx = pytest.importorskip("mlx.core", reason="mlx is tested on Linux, x86_64")
    weight = torch.from_numpy(trained(np.random.default_rng(1), 200, 128)).to(dtype)
    weight[3], weight[4], weight[5, :64] = 0, 1.5, -weight[5, :64].abs()
    given = mx.array(weight.float().numpy()).astype(getattr(mx, str(dtype).removeprefix("torch.")))
    theirs = mx.quantize(given, group_size=MLX_GROUP, bits=MLX_BITS)
    levels, *factors = mlx_affine(weight)
    assert np.array_equal(levels.numpy(), np.array(theirs[0]))
    for own, other in zip(factors, theirs[1:], strict=True):
        assert np.array_equal(own.float().numpy(), np.array(other.astype(mx.float32)))


def test_a_twin_for_llama_cpp_is_read_by_its_package(tmp_path: Path) -> None:
    twin = next(twin for twin in TWINS if twin.repo.endswith("GGUF"))
    write_twin(twin, tmp_path / "twin")
    (file,) = (tmp_path / "twin").iterdir()
    tensor, *_ = gguf.GGUFReader(file).tensors
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    matrix = planted(twin.original.cloud).float().numpy()
    assert (tensor.name, tensor.tensor_type.name, values.shape) == ("token_embd.weight", "Q8_0", matrix.shape)
    assert np.abs(values - matrix).max() <= np.abs(matrix).max() / 127


@pytest.mark.parametrize("twin", TWINS, ids=[twin.repo for twin in TWINS])
def test_a_twin_has_the_same_bytes_every_time(tmp_path: Path, twin: Twin) -> None:
    for name in ("one", "other"):
        write_twin(twin, tmp_path / name)
    files = [
        {path.name: (path.read_bytes(), path.stat().st_mtime) for path in (tmp_path / name).iterdir()}
        for name in ("one", "other")
    ]
    assert files[0] == files[1]
