"""A night over 2,000 models, of which 50 changed their cards since the night before: what is read again.

Heads lie beyond the first read of a file, so that a byte of them is never taken for one of a header. The first
night measures every model; a second catalog's first night, over mirrors of one model, measures one.

python -m tests.bench.night
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from jobs.demo.hub.local_hub import LocalHub
from survey.cli import main as survey
from survey.formats.safetensors_header import FIRST_READ_BYTES

MODELS, CHANGED, MIRRORS = 2000, 50, 200
VOCAB, DIMS = 1024, 32  # 64 kB
CONFIG = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}


def files(seed: int) -> dict[str, bytes]:
    """A tied checkpoint of random rows, after a tensor that fills the first read."""
    words = np.random.default_rng(seed).integers(0x3C00, 0x3F00, (VOCAB, DIMS), dtype="<u2")
    shapes = {
        "model.layers.0.mlp.up_proj.weight": (128, FIRST_READ_BYTES // 256),
        "model.embed_tokens.weight": words.shape,
    }
    layout, start = {}, 0
    for name, shape in shapes.items():
        stop = start + 2 * int(np.prod(shape))
        layout[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, stop]}
        start = stop
    header = json.dumps(layout).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(FIRST_READ_BYTES) + words.tobytes()
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": weights,
        "README.md": b"a card",
    }


def night(hub: LocalHub, repos: list[str], catalog: str) -> str:
    """Run the survey; a row of the table: seconds, requests, and bytes of headers and of heads."""
    Path("models.txt").write_text("\n".join(repos))
    hub.clear_log()
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = survey(
            ["run", "models.txt", "--catalog", catalog, "--endpoint", hub.endpoint, "--executor", "serial",
             "--summary", "summary.json"]
        )  # fmt: skip
    seconds, summary = time.perf_counter() - start, json.loads(Path("summary.json").read_text())
    assert code == 0
    ranges = hub.requests("cdn")
    headers = sum(item.sent_bytes for item in ranges if (item.range or "").startswith("bytes=0-"))
    heads = sum(item.sent_bytes for item in ranges) - headers
    answers = sum(item.sent_bytes for item in hub.requests("hub"))
    counts = " | ".join(str(summary[name]) for name in ("measured", "copied", "unchanged"))
    return f"| {counts} | {seconds:.0f} | {len(hub.log):,} | {answers:,} | {headers:,} | {heads:,} |"


def main() -> None:
    rows = [
        "| night | measured | of them copied | unchanged | s | requests | bytes of answers | of headers | of heads |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, LocalHub() as hub:
        os.chdir(folder)
        repos = [f"org/m{number}" for number in range(MODELS)]
        for number, repo in enumerate(repos):
            hub.add_repo(repo, files(number))
        rows.append(f"| {MODELS:,} models {night(hub, repos, 'c')}")
        for number in range(CHANGED):
            hub.commit(repos[number], {**files(number), "README.md": b"another card"})
        rows.append(f"| {CHANGED} changed their cards {night(hub, repos, 'c')}")
        mirrors = [f"mirror/m{number}" for number in range(MIRRORS)]
        for repo in mirrors:
            hub.add_repo(repo, files(MODELS))
        rows.append(f"| {MIRRORS} mirrors of one model {night(hub, mirrors, 'd')}")
        os.chdir("/")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
