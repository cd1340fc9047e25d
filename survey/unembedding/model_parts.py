"""Which part of a model a tensor belongs to, by its name: a layer, a tower, or a module that holds layers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from heapq import nsmallest

from survey.formats.bounded_json import NAME_CHARS

MAX_COMPONENTS = 32  # of a name; only a hostile file has more
# Modules that hold layers, with their parents; real models have a dozen. Each is compared with each name.
_MAX_BODIES = 256
# Towers for images and sound, their codes, draft heads: a language model only if there is no other.
_OTHER = re.compile(
    r"(?i)vision|visual|image|img_|pixel|audio|speech|acoustic|video|siglip|clip_|(^|[._])(vit|vpm|apm|tts|vq|vae|dit"
    r"|mtp|clip|unet)[._]|tower|talker|2wav|codec|codebook|quantizer|vqmodel|vqgan|depth_?(former|decoder)|draft"
    r"|nextn|altup|medusa|eagle|hydra|q_?former|(?<!output_)(?<!vocab_)(?<!logits_)(?<!logit_)(?<!token_)projector|connector|resampler|patcher|perceiver|diffusion"
)
# Drafts predict tokens of the same vocabulary, with a matrix of the same shape.
_DRAFT = re.compile(r"(?i)(^|[._])mtp[._]|nextn|draft|medusa|eagle|hydra")
# What `(?:^|[._])\w*` matches before a word, tried once in each run of letters: from each `_` of thousands,
# it would take quadratic time.
WORDS_BEFORE = r"(?:(?:^|\.)\w*|[^\w.][^\W_]*_\w*)"
_LAYER_LIST = re.compile(rf"(?i)(?:^|[._])(?:layers?|h|experts?|stages?|mtp)$|{WORDS_BEFORE}blocks?$")
_LAYERS = re.compile(r"(?:^|[._])(?:layers?|h|blocks?)\.[0-9]+\.")
_NUMBERED = re.compile(r"\.[0-9]+\.")
# Names of heads, whatever their shape and their prefix.
SOUNDS_LIKE_A_HEAD = re.compile(
    r"(?i)lm[_-]?heads?|un[_-]?embed|(?:^|[._/-])un_?emb|embed(?:ding)?s?[_-]?out|embed(?:ding)?s?_\w*_out|out(?:put)?[_-]?embed|to[_-]?logits|logits?[_-]?(?:proj|head|layer|out)"
    r"|vocab(?:ulary)?[_-]?(?:proj|head|out|dec)|(?:to|out|proj|head)[_-]?vocab"
    r"|(?:^|[._/-])(?:sequence|text|token|language|word|mlm|llm|causal|vocab)\w*[_-]head"
)
# Lists and sequences that may hold a matrix of the whole model.
_NUMBERED_MATRIX = re.compile(r"(?i)embed|wte|(?:^|[._])(?:output|head|decoder|classifier|scores?)\w*$"
                              r"|(?:^|[._])(?:logits?|predict\w*|read_?out|(?:proj|fc|ff)_out)$")  # fmt: skip


def of_another_part(name: str) -> bool:
    """Whether a name says that the tensor belongs to another part than the language model."""
    return _OTHER.search(name) is not None


def of_a_draft(name: str) -> bool:
    """Whether a name says that the tensor belongs to a draft, which predicts tokens ahead of the model."""
    return _DRAFT.search(name) is not None


def other_part(name: str) -> str:
    """Prefix of a name, up to the word that says which other part it is (`thinker.talker.`); else empty."""
    match = _OTHER.search(name)
    return name[: name.find(".", match.start() + 1) + 1] if match else ""


def without_shared_prefix(name: str, other: str) -> str:
    """A name without the leading components that it shares with another name or prefix."""
    parts, others = name.split("."), other.split(".")
    pairs = enumerate(zip(parts, others, strict=False))
    first_difference = next((index for index, pair in pairs if pair[0] != pair[1]), None)
    return ".".join(parts[min(len(parts), len(others)) if first_difference is None else first_difference :])


def outside_layers(names: Iterable[str]) -> list[str]:
    """The names that belong to no numbered layer, without those that are longer than NAME_CHARS.

    Kept are numbered pieces of a head or an embedding, and a head in a list of other things than layers.
    """
    known: dict[str, bool | None] = {}  # half a million names have a few thousand lists of layers
    outside = []
    for name in names:
        if len(name) > NAME_CHARS:
            continue
        number = _NUMBERED.search(name)
        if number is None:
            outside.append(name)
            continue
        front = name[: number.start()]
        if front not in known:
            layers = False if _LAYER_LIST.search(front) else None
            sounds = SOUNDS_LIKE_A_HEAD.search(front) or _NUMBERED_MATRIX.search(front)
            known[front] = True if sounds else layers
        if known[front] or (known[front] is None and SOUNDS_LIKE_A_HEAD.search(name, number.end())):
            outside.append(name)
    return outside


def model_bodies(names: Iterable[str], *, of_other_parts: bool = False) -> list[str]:
    """Prefixes of the module that holds a language model's layers, and of its parents; the outermost first.

    Layers at `a.b.layers.0.` give ``, `a.` and `a.b.`: whatever wraps a model, its head is in one of them.
    of_other_parts: consider only layers whose names say that they belong to another part. Of more than
    _MAX_BODIES the outermost are given: a matrix beside the others is no known one, and thus a suspect.
    """
    layers = ((name, layer.start() + 1) for name in names if (layer := _LAYERS.search(name[:NAME_CHARS])))
    holders = {name[: name.rfind(".", 0, stop) + 1] for name, stop in layers}
    prefixes = {""}
    for holder in holders:
        if of_another_part(holder) is of_other_parts:
            parts = holder.split(".")[:-1][:MAX_COMPONENTS]
            prefixes.update(".".join(parts[:count]) + "." for count in range(1, len(parts) + 1))
    return nsmallest(_MAX_BODIES, prefixes, key=lambda prefix: (prefix.count("."), prefix))
