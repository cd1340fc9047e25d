"""Tokenizers: what naming 152,000 tokens costs, and what it adds to a run over the models of a family.

The peer of the run is the same run without tokenizers. The tokenizers are built here, by the library, alike on
every machine: a byte-level BPE trained on made-up words, and one most of whose pieces no merge makes.

python -m tests.bench.naming
"""

from __future__ import annotations

import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from survey.checkpoints.tokenizer_files import names_limit_bytes
from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.process import isolation
from tests.bench.catalog import survey
from tests.bench.models import write_model

TOKENS, ROWS = 151_669, 151_936  # of Qwen3
FAMILY, DIMS = 20, 640  # models of 0.19 GB
ROUNDS = 3
ONSETS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "st",
    "tr",
    "pl",
    "qu",
    "sh",
]
RHYMES = ["a", "e", "i", "o", "u", "ai", "ou", "er", "in", "on"]


def trained() -> bytes:
    """A tokenizer.json of pieces as training gives them: a text comes back to each."""
    chance = random.Random(0)
    syllables = [onset + rhyme for onset in ONSETS for rhyme in RHYMES]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(250_000)]

    def lines() -> Iterator[str]:
        for start in range(0, len(words), 50):
            yield " ".join(chance.choices(words[start : start + 50], k=150))

    tokenizer = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS - 20,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.add_special_tokens([f"<|special {number}|>" for number in range(20)])
    return str(tokenizer.to_str()).encode()


def scattered() -> bytes:
    """A tokenizer.json most of whose pieces no text comes back to: each is cut again in every context."""
    chance = random.Random(0)
    pieces = dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet()))
    while len(pieces) < TOKENS:
        pieces["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9)))] = None
    model = models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[])
    return str(byte_level(model).to_str()).encode()


def byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def cpu_s() -> float:
    """CPU seconds of this process and of those that it started and that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def taken(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    start, start_cpu = time.perf_counter(), cpu_s()
    work()
    return time.perf_counter() - start, cpu_s() - start_cpu


def name(content: bytes) -> None:
    """Name a tokenizer in a new process, the process's start included."""
    limits = isolation.TokenizerLimits(names_limit_bytes({"tokenizer.json": len(content)}))
    isolation.read_token_table(TokenizerFiles("tokenizer.json", {"tokenizer.json": content}), ROWS, limits)
    isolation.close()


def family(folder: Path, weights: Path, tokenizer: bytes | None) -> list[str]:
    """Folders of one matrix and one tokenizer; each has a chat template of its own."""
    for number in range(FAMILY):
        model = folder / f"model{number}"
        model.mkdir(parents=True)
        for file in weights.iterdir():
            os.link(file, model / file.name)
        if tokenizer is not None:
            (model / "tokenizer.json").write_bytes(tokenizer)
            (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": f"of model {number}"}))
    return [str(model) for model in sorted(folder.iterdir())]


def run(catalog: Path, models: list[str]) -> None:
    """Measure each, though the bytes are those of the others; CPU time counts, so without Ray."""
    command = survey("run", *models, "--catalog", str(catalog), "--executor", "serial", "--resurvey")
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def main() -> None:
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; best of {ROUNDS}"
    )
    kinds = {"trained": trained(), "scattered": scattered()}
    for kind, content in kinds.items():
        wall, cpu = (min(times) for times in zip(*(taken(lambda: name(content)) for _ in range(ROUNDS)), strict=True))  # fmt: skip  # noqa: B023
        print(f"naming {TOKENS:,} tokens, {kind:<10}{wall:6.2f} s{cpu:6.2f} CPU s", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_model(folder / "weights", ROWS, DIMS, 0)
        listed = {kind: family(folder / kind, folder / "weights", content) for kind, content in (("bare", None), ("named", kinds["trained"]))}  # fmt: skip
        run(folder / "first", listed["bare"][:1])  # compiles
        best: dict[str, tuple[float, float]] = {}
        for number in range(ROUNDS):
            for kind, models_of_kind in listed.items():  # in turn: the machine has other work
                times = taken(lambda: run(folder / f"{kind}{number}", models_of_kind))  # noqa: B023
                best[kind] = min(best.get(kind, times), times, key=lambda pair: pair[1])
    for kind, (wall, cpu) in best.items():
        print(f"{FAMILY} models of {ROWS * DIMS * 2 / 1e9:.2f} GB, {kind:<8}{wall:6.1f} s{cpu:6.1f} CPU s")
    more = best["named"][1] - best["bare"][1]
    print(f"tokenizers add {more:.1f} CPU s, {more / best['bare'][1]:.0%}")


if __name__ == "__main__":
    main()
