"""A tiny checkpoint and the truth about it: the model's own matrices, as transformers returns them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers
import xxhash
from architectures.classes import classes, names_a_head, reads_tokens
from architectures.tiny import build_tiny
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

TRUTH = "truth.json"
MAPPINGS = (
    modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)


@dataclass(frozen=True, order=True)
class Case:
    """A class of transformers for a model type; flipped: tied if its config says untied, and the reverse."""

    model_type: str
    architecture: str
    flipped: bool = False

    def __str__(self) -> str:
        return f"{self.model_type}.{self.architecture}" + (".flipped" if self.flipped else "")


@dataclass(frozen=True)
class Weight:
    """A matrix as it is stored; digest: of its bytes."""

    shape: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Truth:
    """The matrices of a model.

    output  None if its class names no output embeddings
    inputs  the embedding of the whole and, in an encoder-decoder, those of its halves
    tied    whether the output embedding is one of the embeddings
    error   why the model could not be built; then nothing else is known
    """

    output: Weight | None = None
    inputs: tuple[Weight, ...] = ()
    tied: bool = False
    error: str | None = None


def mapped_cases() -> list[Case]:
    """Every class in the three mappings, with default and flipped tying; imports no model's module."""
    mapped = {(kind, model) for mapping in MAPPINGS for kind, model in mapping.items()}
    return sorted(Case(kind, model, flipped) for kind, model in mapped for flipped in (False, True))


def cases() -> list[Case]:
    """The mapped cases, and every other class that may have a head, with default and flipped tying.

    In addition, with default tying only, every class for another task that reads tokens.
    """
    mapped = mapped_cases()
    known = {case.architecture for case in mapped}
    others = {name: kind for name, kind in classes().items() if name not in known and reads_tokens(kind)}
    heads = {(kind.config_class.model_type, name) for name, kind in others.items() if names_a_head(kind)}
    tasks = {
        (kind.config_class.model_type, name) for name, kind in others.items() if re.search("For[A-Z]", name)
    } - heads
    both = [Case(kind, model, flipped) for kind, model in heads for flipped in (False, True)]
    return sorted([*mapped, *both, *(Case(kind, model) for kind, model in tasks)])


def save(case: Case, folder: Path) -> Truth:
    """Write the checkpoint and its truth, even if the model cannot be built."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        # transformers exports most classes by name; looking at all modules takes half a minute.
        kind = getattr(transformers, case.architecture, None) or classes()[case.architecture]
        model = build_tiny(kind, _flip if case.flipped else lambda config: None).to(torch.bfloat16)
        truth = _truth(model)
        model.save_pretrained(folder)
    except Exception as error:  # noqa: BLE001 - foreign code: what cannot be built is counted, not fixed
        truth = Truth(error=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    note(folder, truth)
    return truth


def note(folder: Path, truth: Truth) -> None:
    """Write the truth beside the checkpoint."""
    (folder / TRUTH).write_text(json.dumps(asdict(truth)))


def saved(folder: Path) -> Truth | None:
    """The truth of a checkpoint that was made before; None if there is none."""
    try:
        record = json.loads((folder / TRUTH).read_text())
    except FileNotFoundError:
        return None
    output, *inputs = (
        Weight(tuple(weight["shape"]), weight["digest"]) if weight else None
        for weight in (record["output"], *record["inputs"])
    )
    return Truth(output, tuple(inputs), record["tied"], record["error"])


def digest(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def _truth(model: PreTrainedModel) -> Truth:
    output = getattr(model.get_output_embeddings(), "weight", None)
    inputs = []
    for part in (model, model.get_encoder(), model.get_decoder()):
        try:
            weight = part.get_input_embeddings().weight
            inputs.extend([weight] if weight.dim() == 2 else [])  # a tower's takes patches of an image
        except (AttributeError, NotImplementedError):  # it takes images or sound, or a table per codebook
            continue
    known = tuple({_weight(weight): None for weight in inputs})
    if output is None:
        return Truth(inputs=known)
    embedded = {weight.data_ptr() for weight in inputs} | {
        module.weight.data_ptr() for module in model.modules() if isinstance(module, torch.nn.Embedding)
    }
    return Truth(_weight(output), known, output.data_ptr() in embedded)


def _weight(tensor: torch.Tensor) -> Weight:
    return Weight(
        tuple(tensor.shape), digest(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    )


def _flip(config: PretrainedConfig) -> None:
    """Flip the statements of the whole model and of its language part; which one counts depends on the model."""
    parts = [part for part in (config, config.get_text_config()) if hasattr(part, "tie_word_embeddings")]
    if not parts:
        raise ValueError("its config does not speak of tying")
    tied = not parts[0].tie_word_embeddings
    for part in parts:
        part.tie_word_embeddings = tied
