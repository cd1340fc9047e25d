"""Many models: how fast a run is over 1,000 small ones, the first time and when nothing is to be done, and what
several at once bring where each connection is capped.

The peer of the second run is a bare client that asks for the same 1,000 commits, as many at a time.

python -m tests.bench.models
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
from huggingface_hub import HfApi

from jobs.demo.hub.local_hub import ReplyShape
from jobs.planning.planner import PLANNERS
from tests.bench._served import Served, served
from tests.bench.catalog import seconds, survey

SMALL, AUTHORS, DIFFERENT = 1000, 250, 8  # four of each author: too few for a page of the Hub's listing
# Tied, 2.1 MB: of files from 2 MiB on the local Hub states another digest by each name, so that none is a copy.
VOCAB, DIMS = 8_200, 128
LARGE_VOCAB, LARGE_DIMS = 151_936, 1_280  # 0.4 GB
CAPPED = ReplyShape(latency_s=0.02, connection_bytes_s=4e6)
AT_ONCE = (1, 2, 4)
CONFIG = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}


def write_model(folder: Path, vocab: int, dims: int, seed: int) -> None:
    """A tied checkpoint of random rows."""
    folder.mkdir(parents=True)
    rows = np.random.default_rng(seed).standard_normal((vocab, dims), dtype=np.float32)
    words = (rows.view(np.uint32) >> 16).astype("<u2")
    layout = {"dtype": "BF16", "shape": [vocab, dims], "data_offsets": [0, words.nbytes]}
    header = json.dumps({"model.embed_tokens.weight": layout}).encode()
    with (folder / "model.safetensors").open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        out.write(words.data)
    (folder / "config.json").write_text(json.dumps(CONFIG))


def run(catalog: Path, listed: Path, hub: Served) -> float:
    """Wall seconds of `survey run`, from start to end."""
    command = survey("run", str(listed), "--catalog", str(catalog), "--endpoint", hub.endpoint)
    return seconds(*command, rounds=1)


def look_up(repos: list[str], hub: Served) -> float:
    """Seconds that a bare client takes to ask for as many commits."""
    api = HfApi(endpoint=hub.endpoint, token=False)
    start = time.perf_counter()
    with ThreadPoolExecutor(PLANNERS) as pool:
        shas = list(pool.map(lambda repo: api.model_info(repo, expand=["sha"]).sha, repos))
    assert all(shas)
    return time.perf_counter() - start


def many(hub: Served, repos: list[str], folder: Path) -> None:
    listed = folder / "small.txt"
    listed.write_text("\n".join(repos))
    hub.shape(ReplyShape())
    first = run(folder / "small", listed, hub)
    second, bare = (min(times) for times in zip(*((run(folder / "small", listed, hub), look_up(repos, hub)) for _ in range(3)), strict=True))  # fmt: skip
    print(f"{SMALL:,} models of {VOCAB * DIMS * 2 / 1e6:.0f} MB, embedded Ray")
    print(f"  first run          {first:6.1f} s   {SMALL / first:.0f} models a second")
    print(
        f"  nothing to be done {second:6.1f} s   bare client's look-ups {bare:.1f} s; {second - bare:+.1f} s"
    )


def at_once(hub: Served, folder: Path) -> None:
    hub.shape(CAPPED)
    print("models of 0.4 GB at once, 20 ms and 32 Mbit/s for each connection, up to 16 a model")
    print(f"{'at once':>8}{'s':>8}{'MB/s':>8}{'× one':>8}")
    base = 0.0
    for count in AT_ONCE:
        listed, catalog = folder / f"{count}.txt", folder / f"large-{count}"
        listed.write_text("\n".join(f"large/model{number}" for number in range(count)))
        run(catalog, listed, hub)
        # From the first task's start to the last one's end: what Ray takes to start is above.
        sql = (
            "SELECT date_diff('ms', min(measured_at - to_milliseconds((elapsed_s * 1000)::BIGINT)), max(measured_at)), "
            f"sum(tensor_bytes) FROM '{catalog}/rows/*.parquet'"
        )
        took, count_bytes = duckdb.sql(sql).fetchall()[0]
        speed = count_bytes / took / 1000
        base = base or speed
        print(f"{count:>8}{took / 1000:>8.1f}{speed:>8.0f}{speed / base:>8.2f}", flush=True)


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as made:
        folder, hubs = Path(made), Path(made, "hub")
        for seed in range(DIFFERENT):
            write_model(folder / "made" / str(seed), VOCAB, DIMS, seed)
        write_model(folder / "made" / "large", LARGE_VOCAB, LARGE_DIMS, 0)
        repos = [f"author{number % AUTHORS}/model{number}" for number in range(SMALL)]
        for number, repo in enumerate(repos):
            link(hubs / repo, folder / "made" / str(number % DIFFERENT))
        for number in range(max(AT_ONCE)):
            link(hubs / "large" / f"model{number}", folder / "made" / "large")
        with served(hubs) as hub:
            many(hub, repos, folder)
            at_once(hub, folder)


def link(name: Path, target: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(target)


if __name__ == "__main__":
    main()
