"""How often each relation of `relatives` is wrong, on planted families of models (docs/howto/lineage.md).

Each base has relatives of every kind and strangers of every kind; each base is asked for all of them. Models of
other families are unrelated, too.

python -m tests.bench.relatives [--families 20]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402 - the folders above hold what is imported below
from support.checkpoints import Stored, single  # noqa: E402
from support.kinships import RELATIVES, RESAVED, STRANGERS, Rows, trained  # noqa: E402
from support.matrices import CODES, raw  # noqa: E402
from support.quantisations import QUANTISATIONS  # noqa: E402

from catalog.read.reader import Reader  # noqa: E402
from catalog.store.open import open_for_reading  # noqa: E402
from queries.library import find  # noqa: E402
from survey.cli import main as survey  # noqa: E402

V, D = 8_000, 128
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
# What was quantised: a base, and a fine-tune of it, each in two types.
QUANTISED = {
    f"{kind} in {to}": (RELATIVES[kind][0], QUANTISATIONS[to])
    for kind in ("a copy", "fine-tuned a little")
    for to in ("Q8_0", "mlx-4bit-g64")
}
DTYPES = {torch.bfloat16: {**RELATIVES, **STRANGERS}, torch.float16: RESAVED}
KIN = {**RELATIVES, **RESAVED, **QUANTISED}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--families", type=int, default=20)
    families = parser.parse_args().families
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for family in range(families):
            _write_family(folder, family)
        models = sorted(str(path) for path in folder.iterdir())
        with redirect_stdout(sys.stderr):
            code = survey(["run", *models, "--catalog", str(folder / "c"), "--executor", "serial"])
        if code != 0:
            return code
        _print_table(folder, families)
    return 0


def _write_family(folder: Path, family: int) -> None:
    chance = np.random.default_rng(1_000 + family)
    base = trained(np.random.default_rng(family), V, D)
    _write(folder / f"{family}~base", base, torch.bfloat16)
    for dtype, kinds in DTYPES.items():
        for kind, (make, _) in kinds.items():
            _write(folder / f"{family}~{kind.replace(' ', '-')}", make(base, chance), dtype)
    for kind, (make, quantise) in QUANTISED.items():
        _write_files(folder / f"{family}~{kind.replace(' ', '-')}", quantise(make(base, chance)))


def _write(folder: Path, rows: Rows, dtype: torch.dtype) -> None:
    weight = torch.from_numpy(rows).to(dtype)
    tensors = {"lm_head.weight": Stored(CODES[dtype], tuple(weight.shape), bytes(raw(weight)))}
    _write_files(folder, single(tensors, CONFIG))


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _print_table(folder: Path, families: int) -> None:
    """For each kind of relative its relations; for each relation how many pairs have it, and are unrelated."""
    by_kind: dict[str, Counter[str]] = {kind.replace(" ", "-"): Counter() for kind in (*KIN, *STRANGERS)}
    kin = {kind.replace(" ", "-") for kind in KIN}
    right, wrong = Counter[str](), Counter[str]()
    query = find("relatives").sql
    with Reader(open_for_reading(str(folder / "c"))) as reader:
        for family in range(families):
            parameters = {
                "model": str(folder / f"{family}~base"),
                "matrix": "output",
                "limit": 100_000,
                "stored_as": "*",
            }
            answer = reader.ask(query, parameters)
            relations = {Path(row[0]).name: row[answer.names.index("relation")] for row in answer.rows}
            for kind in by_kind:
                by_kind[kind][relations.get(f"{family}~{kind}", "none")] += 1
            for name, relation in relations.items():
                of, kind = name.split("~")
                (right if of == str(family) and kind in kin else wrong)[relation] += 1
    print("| planted | relation |\n|---|---|")
    for kind, counts in by_kind.items():
        stated = ", ".join(f"{relation} {count}" for relation, count in counts.most_common())
        print(f"| {kind.replace('-', ' ')} | {stated} |")
    print("\n| relation | relatives | unrelated |\n|---|---|---|")
    for relation in dict.fromkeys((*right, *wrong)):
        print(f"| {relation} | {right[relation]} | {wrong[relation]} |")


if __name__ == "__main__":
    sys.exit(main())
