"""Which part of a model a tensor belongs to, by its name: a layer, a tower, or what holds the layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Towers for images and sound, their codes, draft heads: no language model, but where it is the only one.
_OTHER = re.compile(
    r"(?i)vision|visual|image|img_|pixel|audio|speech|acoustic|video|siglip|clip_|(^|[._])(vit|vpm|apm|tts|vq|vae|dit"
    r"|mtp|clip|unet)[._]|tower|talker|2wav|codec|codebook|quantizer|vqmodel|vqgan|depth_?(former|decoder)|draft"
    r"|nextn|altup|medusa|eagle|hydra|q_?former|projector|connector|resampler|patcher|perceiver|diffusion"
)
# They guess tokens of the same vocabulary, with a matrix of the same shape.
_DRAFT = re.compile(r"(?i)(^|[._])mtp[._]|nextn|draft|medusa|eagle|hydra")
_LAYER_LIST = re.compile(r"(?i)(?:^|[._])(?:layers?|h|\w*blocks?|experts?|stages?|mtp)$")
NAME_CHARS = 1_000  # a longer name is a hostile file's, and nobody's head
_LAYERS = re.compile(r"(?:^|[._])(?:layers?|h|blocks?)\.[0-9]+\.")
_NUMBERED = re.compile(r"\.[0-9]+\.")
# A name of these is a head's, whatever its shape and whatever holds it.
SOUNDS_LIKE_A_HEAD = re.compile(
    r"(?i)lm_?heads?|un_?embed|embed(?:ding)?s?_?out|out(?:put)?_?embed|to_logits|logits?_?(?:proj|head|layer|out)"
    r"|vocab_?(?:proj|head|out|dec)|(?:to|out|proj|head)_?vocab"
    r"|(?:^|[._])(?:sequence|text|token|language|word|mlm|llm|causal|vocab)\w*_head"
)
# What may be a list or a sequence and still be a matrix of the whole model.
_NUMBERED_MATRIX = re.compile(r"(?i)embed|wte|(?:^|[._])(?:output|head|decoder|classifier|scores?)\w*$")


def of_another_part(name: str) -> bool:
    """Whether a tensor belongs to something else than the language model."""
    return _OTHER.search(name) is not None


def of_a_draft(name: str) -> bool:
    """Whether a tensor belongs to what guesses tokens ahead of the language model."""
    return _DRAFT.search(name) is not None


def other_part(name: str) -> str:
    """The other part that a name belongs to, up to the word that says so: `thinker.talker.`; else empty."""
    said = _OTHER.search(name)
    return name[: name.find(".", said.start() + 1) + 1] if said else ""


def beyond(name: str, holder: str) -> str:
    """What follows in a name after the words that it shares with what holds something else."""
    words, held = name.split("."), holder.split(".")
    shared = next((at for at, pair in enumerate(zip(words, held, strict=False)) if pair[0] != pair[1]), None)
    return ".".join(words[min(len(words), len(held)) if shared is None else shared :])


def outside_layers(names: Iterable[str]) -> list[str]:
    """The names that belong to no numbered layer.

    Neither does a numbered piece of a head or an embedding, nor a head in a list of other things than layers.
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
    """What holds a language model's layers, with all that holds it in turn; the outermost first.

    Layers at `a.b.layers.0.` give ``, `a.` and `a.b.`: whatever wraps a model, its head is in one of them.
    of_other_parts: layers whose names say that they belong to something else, and only these.
    """
    held = ((name, layer.start() + 1) for name in names if (layer := _LAYERS.search(name[:NAME_CHARS])))
    holders = {name[: name.rfind(".", 0, stop) + 1] for name, stop in held}
    found = {""}
    for holder in holders:
        if of_another_part(holder) is of_other_parts:
            parts = holder.split(".")[:-1]
            found.update(".".join(parts[:count]) + "." for count in range(1, len(parts) + 1))
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))
