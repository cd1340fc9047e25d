"""Behind the wire: one head of 0.8 GB from the local Hub, against a plain reader, and against what people do.

The plain reader opens as many connections as this project settled on, reads and throws away. "What people do" is a
model whose head is a sixth of its bytes: download its shard, its repository, or load it and widen the head.

python -m tests.bench.wire
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors.torch import save_file

import survey
from jobs.demo.hub.local_hub import ReplyShape
from survey.opening import Matrix
from tests.bench._served import served
from tests.bench.measure import matrix

REPEATS = 3
LINKS = (
    ("2.5 Gbit/s in all", ReplyShape(total_bytes_s=312.5e6), (4, 8, 16)),
    ("uncapped", ReplyShape(), (4, 8, 16)),
    ("25 Gbit/s in all", ReplyShape(total_bytes_s=3.125e9), (8, 16)),
    ("20 ms, 100 Mbit/s each", ReplyShape(latency_s=0.02, connection_bytes_s=12.5e6), (4, 8, 16)),
)
DIMS, VOCAB, LAYERS = 1024, 65_536, 9  # of the whole model: 0.8 GB, of which 0.13 are its head


def write_head(folder: Path) -> None:
    folder.mkdir(parents=True)
    save_file({"model.embed_tokens.weight": matrix(torch.bfloat16)}, folder / "model.safetensors")
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))


def write_whole(folder: Path) -> None:
    """A Llama in shards, as its authors would have exported it."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=DIMS,
        intermediate_size=8 * DIMS,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder, max_shard_size="200MB")


def read_plainly(opened: Matrix, connections: int) -> None:
    """The same bytes by the standard library's client, thrown away."""
    spec = opened.target.spec
    signed = opened.checkpoint._signed_files.get(spec.file)  # type: ignore[attr-defined]  # a Hub's checkpoint has it
    url = urlsplit(signed.url)
    step = -(-len(spec.bytes) // connections)

    def read(start: int, stop: int) -> None:
        line = http.client.HTTPConnection(url.netloc)
        line.request("GET", f"{url.path}?{url.query}", headers={"Range": f"bytes={start}-{stop - 1}"})
        response, room = line.getresponse(), memoryview(bytearray(1 << 20))
        while response.readinto(room):
            pass
        line.close()

    threads = [
        threading.Thread(target=read, args=(start, min(start + step, spec.bytes.stop)))
        for start in range(spec.bytes.start, spec.bytes.stop, step)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    start, start_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - start_cpu


def by_link(endpoint: str, shape: Callable[[ReplyShape], None]) -> None:
    print(f"{'link':<24}{'connections':>12}{'ours s':>9}{'CPU s':>7}{'plain s':>9}{'CPU s':>7}{'ratio':>7}")
    for name, link, allowed in LINKS:
        shape(link)
        for connections in allowed:
            ours, plain = [], []
            for _ in range(REPEATS):  # in turn: the machine's other work changes
                opened = survey.open_matrix("org/head", endpoint=endpoint, connections=connections)
                ours.append(seconds(lambda opened=opened: survey.measure(opened, device="cpu")))  # type: ignore[misc]
                plain.append(seconds(lambda opened=opened, n=connections: read_plainly(opened, n)))  # type: ignore[misc]
            (wall, cpu), (theirs, their_cpu) = min(ours), min(plain)
            at_most = f"≤ {connections}"
            print(
                f"{name:<24}{at_most:>12}{wall:>9.2f}{cpu:>7.2f}{theirs:>9.2f}{their_cpu:>7.2f}"
                f"{wall / theirs:>7.2f}",
                flush=True,
            )


def notebook(endpoint: str, cache: str) -> None:
    """What the notebook did."""
    from transformers import AutoModelForCausalLM

    folder = snapshot_download("org/whole", endpoint=endpoint, cache_dir=cache)
    weight = AutoModelForCausalLM.from_pretrained(folder).lm_head.weight.detach().float()
    weight.mean(dim=0)
    torch.norm(weight, dim=1)


def end_to_end(endpoint: str) -> None:
    """Ours measures all columns; of the peers the first two only download."""

    def ours(cache: str) -> object:
        return survey.measure(survey.open_matrix("org/whole", endpoint=endpoint), device="cpu")

    file = survey.open_matrix("org/whole", endpoint=endpoint).target.spec.file
    ways: dict[str, Callable[[str], object]] = {
        "ours, measured": ours,
        "hf_hub_download of the shard": lambda cache: hf_hub_download(
            "org/whole", file, endpoint=endpoint, cache_dir=cache
        ),
        "snapshot_download": lambda cache: snapshot_download("org/whole", endpoint=endpoint, cache_dir=cache),
        "the notebook": lambda cache: notebook(endpoint, cache),
    }
    base = 0.0
    print(f"{'way, 2.5 Gbit/s in all':<32}{'s':>7}{'÷ ours':>8}")
    for name, way in ways.items():
        taken = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as cache:
                taken.append(seconds(lambda way=way, cache=cache: way(cache))[0])  # type: ignore[misc]
        base = base or min(taken)
        print(f"{name:<32}{min(taken):>7.2f}{min(taken) / base:>8.1f}", flush=True)


def main() -> None:
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, best of {REPEATS}"
    )
    with tempfile.TemporaryDirectory() as made:
        write_head(Path(made, "org", "head"))
        write_whole(Path(made, "org", "whole"))
        survey.measure(torch.randn(2048, 256).bfloat16(), device="cpu")  # so that nothing is compiled below
        with served(Path(made)) as hub:
            by_link(hub.endpoint, hub.shape)
            hub.shape(LINKS[0][1])
            end_to_end(hub.endpoint)


if __name__ == "__main__":
    main()
