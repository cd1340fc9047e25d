"""The spectrum of a matrix: ours by products of rows, against singular values of the whole matrix, and WeightWatcher.

python -m tests.bench.spectrum [--rows 50000] [--dims 1024] [--turns 3]

Each way runs in a process of its own over one checkpoint folder, so that its memory is seen; CPU seconds and peaks
are of the work alone. `svdvals` is torch's, in float64, of the matrix held whole. WeightWatcher, if it is installed,
analyses a Linear layer with these weights, which computes singular values and the power law; ours also finds black
holes, the live rows' spectrum, components, and the rows farthest along them. `a pass` measures the matrix as
`survey run` does, and `a pass, spectrum beside` adds what `--spectrum on` does on a CPU, from the same blocks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

MEASURED = """
import json, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
folder = sys.argv[1]
{prepare}
def status_mb(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) / 1000
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here
before_mb, cpu, wall = status_mb("VmRSS"), time.process_time(), time.perf_counter()
alpha, first = work()
peak_mb = status_mb("VmHWM") - before_mb
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak_mb, alpha, first]))
"""
OURS = """
import survey
survey.spectrum(torch.randn(300, 16), device="cpu") if (torch := __import__("torch")) else None
def work():
    with survey.open_matrix(folder) as matrix:
        figures = survey.spectrum(matrix, device="cpu").figures
    return figures.alpha, figures.spectral_norm
"""
PASS = """
import survey
survey.measure(__import__("numpy").ones((300, 16), "f4"), device="cpu")
def work():
    with survey.open_matrix(folder) as matrix:
        survey.measure(matrix, device="cpu")
    return None, None
"""
BESIDE = """
import dataclasses, math, survey
from jobs.tasks.spectrum import TaskSpectrum
from survey.records.settings import Settings, SpectraDevice
survey.measure(__import__("numpy").ones((300, 16), "f4"), device="cpu")
survey.spectrum(__import__("numpy").ones((300, 16), "f4"), device="cpu")
def work():
    with survey.open_matrix(folder) as matrix:
        matrix.target = dataclasses.replace(matrix.target, spectrum_bytes=1)
        spectrum = TaskSpectrum.of(matrix, SpectraDevice("cpu", "requested"), math.inf)
        _, outcome = spectrum.beside(matrix, "cpu", Settings(), lambda count: None)
    return outcome.row.alpha, outcome.row.spectral_norm
"""
SVDVALS = """
import torch
from safetensors.torch import load_file
torch.linalg.svdvals(torch.randn(300, 16, dtype=torch.float64))
def work():
    values = torch.linalg.svdvals(load_file(folder + "/model.safetensors")["lm_head.weight"].double())
    return None, float(values[0])
"""
WEIGHTWATCHER = """
import contextlib, logging, os, torch, weightwatcher
from safetensors.torch import load_file
logging.disable(logging.CRITICAL)
def work():
    weights = load_file(folder + "/model.safetensors")["lm_head.weight"].float()
    layer = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    layer.weight = torch.nn.Parameter(weights, requires_grad=False)
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        details = weightwatcher.WeightWatcher(model=torch.nn.Sequential(layer)).analyze(max_evals=1 << 14)
    return float(details.alpha.iloc[0]), float(details.spectral_norm.iloc[0]) ** 0.5
"""


def write_head(folder: Path, rows: int, dims: int) -> None:
    """A head of bfloat16 with a falling spectrum, off-centre."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    turn, _ = np.linalg.qr(draw.normal(size=(dims, dims)))
    cloud = (draw.normal(size=(rows, dims)) * np.arange(1, dims + 1) ** -0.4) @ turn
    weights = torch.from_numpy(0.02 * (cloud + 0.3 * draw.normal(size=dims))).bfloat16()
    save_file({"lm_head.weight": weights}, folder / "model.safetensors")
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))


def measured(prepare: str, folder: Path) -> tuple[float, float, float, float | None, float | None]:
    """Wall and CPU seconds, MB beyond what was there, α, and the largest singular value."""
    program = [sys.executable, "-c", MEASURED.format(prepare=prepare), str(folder)]
    ran = subprocess.run(program, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    wall_s, cpu_s, mb, alpha, first = json.loads(ran.stdout.splitlines()[-1])
    return wall_s, cpu_s, mb, alpha, first


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dims", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    ways = {"ours": OURS, "a pass": PASS, "a pass, spectrum beside": BESIDE, "svdvals": SVDVALS}
    if importlib.util.find_spec("weightwatcher"):
        ways["WeightWatcher"] = WEIGHTWATCHER
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}, best of {options.turns}"
    )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "head")
        write_head(folder, options.rows, options.dims)
        results = {
            name: [measured(prepare, folder) for _ in range(options.turns)] for name, prepare in ways.items()
        }
    print(
        f"{f'{options.rows:,} × {options.dims:,}':<24}{'s':>8}{'CPU s':>8}{'MB':>8}{'alpha':>9}{'sigma 1':>12}"
        f"{'÷ ours, CPU s':>15}"
    )
    ours = min(item[1] for item in results["ours"])
    for name, turns in results.items():
        wall_s, cpu_s, mb, alpha, first = min(turns, key=lambda item: item[1])
        shown = "" if alpha is None else f"{alpha:.4f}", "" if first is None else f"{first:.6f}"
        print(
            f"{name:<24}{wall_s:>8.1f}{cpu_s:>8.2f}{mb:>8.0f}{shown[0]:>9}{shown[1]:>12}{cpu_s / ours:>15.2f}"
        )


if __name__ == "__main__":
    main()
