"""The sky of 151,936 × 2,560 in bf16: ours against Gram + full `eigh`, and against the notebook's way.

Each in a process of its own on the same file, all in one run; prints seconds, CPU seconds (which a busy machine
changes little) and their ratios, peak memory and how far the eigenvalues are from float64's. python -m tests.bench.sky
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import survey

ROWS, DIMS, HOLE = 151_936, 2_560, 814
CONFIG = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}
TENSOR = "model.embed_tokens.weight"
Answer = list[float]  # the three leading eigenvalues


def make(folder: Path) -> None:
    """Rows off the origin whose variances fall as those of real models do; one black hole."""
    chance = torch.Generator().manual_seed(0)
    scales = 0.02 * torch.arange(1, DIMS + 1) ** -0.3
    weight = torch.empty(ROWS, DIMS, dtype=torch.bfloat16)
    for start in range(0, ROWS, 8192):
        rows = torch.randn(min(8192, ROWS - start), DIMS, generator=chance) * scales + 0.006
        weight[start : start + len(rows)] = rows
    weight[100 : 100 + HOLE] = weight[100].clone()
    save_file({TENSOR: weight}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))


def ours(folder: Path) -> Answer:
    """The whole command's work: axes, coordinates, black holes, dot products, exponent ladder."""
    with survey.open_matrix(folder) as matrix:
        figures = survey.cluster(matrix, device="cpu").figures
    return [figures.meridian_variance, figures.north_variance, figures.equinox_variance]


def gram(folder: Path) -> Answer:
    """The eigenvalues alone: a float32 Gram matrix by blocks, all of its eigenvectors."""
    weight = load_file(folder / "model.safetensors")[TENSOR]
    total, product = torch.zeros(DIMS, dtype=torch.float64), torch.zeros(DIMS, DIMS)
    for rows in weight.split(4096):
        wide = rows.float()
        total += wide.sum(dim=0, dtype=torch.float64)
        product.addmm_(wide.T, wide)
    mean = (total / ROWS).float()
    values, _ = torch.linalg.eigh(product / ROWS - torch.outer(mean, mean))
    return [float(value) for value in values.flip(0)[:3]]


def notebook(folder: Path) -> Answer:
    """Its cells: everything in float32, held."""
    weight = load_file(folder / "model.safetensors")[TENSOR]
    wide = weight.to(torch.float32)
    centred = wide - wide.mean(dim=0)
    values, vectors = torch.linalg.eigh((centred.T @ centred) / ROWS)
    order = torch.argsort(values, descending=True)
    values, vectors = values[order], vectors[:, order]
    x, y, z = (wide @ vectors[:, axis] for axis in (0, 2, 1))
    radius = torch.sqrt(x**2 + y**2 + z**2)
    torch.rad2deg(torch.asin(torch.clamp(z / radius, -1, 1))), torch.rad2deg(torch.atan2(y, x))
    dots = weight @ weight[100]
    (dots == dots[100]).nonzero()
    return [float(value) for value in values[:3]]


def exact(folder: Path) -> Answer:
    """float64 all the way."""
    weight = load_file(folder / "model.safetensors")[TENSOR]
    mean = sum(rows.double().sum(dim=0) for rows in weight.split(8192)) / ROWS
    product = np.zeros((DIMS, DIMS))
    for rows in weight.split(8192):
        wide = (rows.double() - mean).numpy()
        product += wide.T @ wide
    return np.linalg.eigvalsh(product / ROWS)[::-1][:3].tolist()


WAYS: dict[str, Callable[[Path], Answer]] = {way.__name__: way for way in (ours, gram, notebook, exact)}


def timed(name: str, folder: Path) -> tuple[float, float, float, Answer]:
    """Seconds, CPU seconds, peak GB and the answer of a way, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench.sky", name, str(folder)], capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(ran.stderr)
    seconds, cpu, peak, *answer = json.loads(ran.stdout)
    return seconds, cpu, peak, answer


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in WAYS:
        start = time.perf_counter()
        answer = WAYS[sys.argv[1]](Path(sys.argv[2]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        print(json.dumps([time.perf_counter() - start, cpu, used.ru_maxrss / 1e6, *answer]))
        return
    print(f"the sky of {ROWS:,} × {DIMS:,} BF16, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        timings = {name: timed(name, Path(folder)) for name in WAYS}
    true = np.array(timings["exact"][3])
    print(
        f"{'way':<10}{'s':>8}{'CPU s':>8}{'of ours':>9}{'peak GB':>9}  largest relative error of an eigenvalue"
    )
    for name, (seconds, cpu, peak, answer) in timings.items():
        error = np.abs(np.array(answer) / true - 1).max()
        print(
            f"{name:<10}{seconds:>8.1f}{cpu:>8.1f}{cpu / timings['ours'][1]:>9.2f}{peak:>9.2f}  {error:.1e}"
        )


if __name__ == "__main__":
    main()
