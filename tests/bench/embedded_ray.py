"""Embedded Ray: what it costs beyond the passes, for one small folder, for large ones, and for many small models.

Peers: a bare Ray that runs one empty task; the passes alone, divided by what runs at once; and, if it is named, the
code of another checkout, in turn with this one.

python -m tests.bench.embedded_ray [--against CHECKOUT] [--folders 8] [--models 1000]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

import survey
from survey.process.machine import cpus
from tests.bench._served import served
from tests.bench.models import AUTHORS, DIMS, LARGE_DIMS, LARGE_VOCAB, VOCAB, link, write_model

ROUNDS, PASSES = 3, 5
PROGRAM = "from survey.cli import entry; entry()"
BARE = (
    "import ray; ray.init(address='local', include_dashboard=False, log_to_driver=False, logging_level='error'); "
    "ray.get(ray.remote(lambda: None).remote()); ray.shutdown()"
)


def run(checkout: Path, *arguments: str, program: str = PROGRAM) -> float:
    """Wall seconds of a program with the code of a checkout."""
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", program, *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=checkout)
    return time.perf_counter() - began


def span(catalog: Path) -> float:
    """Seconds from the first task's start to the last commit."""
    rows = sorted((catalog / "rows").glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    started = []
    for path in rows:
        (row,) = pq.read_table(path, columns=["measured_at", "elapsed_s"]).to_pylist()
        started.append(row["measured_at"].timestamp() - time.timezone - row["elapsed_s"])
    return rows[-1].stat().st_mtime - min(started)


def passes_alone(folders: list[Path]) -> float:
    """The sum of the passes over the folders by one warm thread, the best of some each, divided by the CPUs."""
    best = [min(one_pass(folder) for _ in range(PASSES)) for folder in folders]
    return sum(best) / min(cpus(), len(folders))


def one_pass(folder: Path) -> float:
    began = time.perf_counter()
    survey.measure(survey.open_matrix(folder), device="cpu", threads=1)
    return time.perf_counter() - began


def show(name: str, seconds: dict[str, list[float]], peer: str, peer_s: float) -> None:
    print(f"{name}; {peer} {peer_s:.2f} s")
    for checkout, times in seconds.items():
        print(f"    {checkout:<28}{min(times):7.2f} s  ÷ peer {min(times) / peer_s:.2f}", flush=True)


def small_folder(checkouts: list[Path], folder: Path) -> None:
    write_model(folder / "model", VOCAB, DIMS, 0)
    seconds: dict[str, list[float]] = {str(checkout): [] for checkout in checkouts}
    bare = []
    for number in range(ROUNDS):
        for checkout in checkouts:
            catalog = str(folder / f"{checkout.name}-{number}")
            seconds[str(checkout)].append(run(checkout, "run", str(folder / "model"), "--catalog", catalog))
        bare.append(run(checkouts[0], program=BARE))
    show("one small folder, the whole command", seconds, "a bare Ray with one empty task", min(bare))


def large_folders(checkouts: list[Path], folder: Path, count: int) -> None:
    folders = [folder / f"large{number}" for number in range(count)]
    for number, path in enumerate(folders):
        write_model(path, LARGE_VOCAB, LARGE_DIMS, number)
    spans: dict[str, list[float]] = {str(checkout): [] for checkout in checkouts}
    for number in range(ROUNDS):
        for checkout in checkouts:
            catalog = folder / f"{checkout.name}-{number}"
            run(checkout, "run", *map(str, folders), "--catalog", str(catalog))
            spans[str(checkout)].append(span(catalog))
    peer = passes_alone(folders)
    show(f"{count} folders of 0.4 GB, first task to last commit", spans, "passes alone ÷ at once", peer)


def small_models(checkouts: list[Path], folder: Path, count: int) -> None:
    for seed in range(8):
        write_model(folder / "made" / str(seed), VOCAB, DIMS, seed)
    repos = [f"author{number % AUTHORS}/model{number}" for number in range(count)]
    for number, repo in enumerate(repos):
        link(folder / "hub" / repo, folder / "made" / str(number % 8))
    (folder / "list.txt").write_text("\n".join(repos))
    seconds: dict[str, list[float]] = {str(checkout): [] for checkout in checkouts}
    with served(folder / "hub") as hub:
        for checkout in checkouts:
            command = ("run", str(folder / "list.txt"), "--endpoint", hub.endpoint, "--catalog")
            seconds[str(checkout)].append(run(checkout, *command, str(folder / checkout.name)))
    peer = count * passes_alone([folder / "made" / "0"]) / cpus()
    show(
        f"{count:,} models of 2.1 MB from the local Hub, the whole command",
        seconds,
        "passes alone ÷ at once",
        peer,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path)
    parser.add_argument("--folders", type=int, default=8)
    parser.add_argument("--models", type=int, default=1000)
    chosen = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    checkouts = [Path(__file__).parents[2], *([chosen.against.resolve()] if chosen.against else [])]
    with tempfile.TemporaryDirectory() as made:
        run_in = {name: Path(made, name) for name in ("small", "large", "many")}
        small_folder(checkouts, run_in["small"])
        large_folders(checkouts, run_in["large"], chosen.folders)
        small_models(checkouts, run_in["many"], chosen.models)


if __name__ == "__main__":
    main()
