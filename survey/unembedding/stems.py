"""What the tensors at one place of a checkpoint are, such as `lm_head`: a matrix, or signs of one.

A stem is a tensor's name up to there; the rest of the name says what the tensor is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from survey.formats.safetensors_header import Outline
from survey.unembedding.quantisation import PACKED_SUFFIXES, looks_packed

OutlineOf = Callable[[str], Outline | None]  # of a tensor's name; None where its header was not read

# The matrix itself. What an adapter trained comes before what it was trained from; a parameter without a
# module has the bare name.
_WHOLE = (
    re.compile(r"\.modules_to_save(?:\.\w+)?\.weight"),
    re.compile(r"\.weight"),
    re.compile(r"\.base_layer\.weight"),
    re.compile(r"\.original_module\.weight"),
    re.compile(r""),
    re.compile(r"\.(?:embedding|W_E)"),  # Molmo; TransformerLens
    # What torch.compile, FSDP and activation checkpointing put around a module.
    re.compile(
        r"\.(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)\.)+weight"
    ),
)
_TRAINED = ".modules_to_save.default.weight"
# A change that is stored beside a matrix, and not merged into it: LoRA and its kin.
_UPDATE = re.compile(
    r"(?i)[._](?:lora|dora|adalora|lokr|loha|hada|oft|boft|vera|ia3|road|fourierft|randlora|delora|delta"
    r"|trainable_tokens|token_adapter|adapter)(?:[._]|$)|delta$|[._]weight_mask$"
)
_ADDED = re.compile(r"\.(?:additional|added|new|extra)_?(?:\w*)(?:\.weight)?")
# Pieces of one matrix, or the heads of several codebooks.
_PIECE = re.compile(r"\.(?:\d+\.weight|weight\.\d+|weight_part_?\d+)")
_NUMBER = re.compile(r"\.(\d+)\.weight")
_DIRECT = re.compile(r"[._](?:weights?[.:_])?[^.]+")  # of the module itself, not of one within it
# What may stand before, beside or after a matrix in the module that holds it.
_HARMLESS = re.compile(
    r"(?i)bias|norm|(?:^|[._])(?:ln|dense|transform|act\w*|dropout|input|output|k|v)(?:[._0-9]|$)|inv_freq"
)


def is_update(rest: str) -> bool:
    """Whether what follows a matrix's place in a name is said of a change to it."""
    return _UPDATE.search(rest) is not None


@dataclass(frozen=True, slots=True)
class Stem:
    """The tensors of one place: their names by what follows `path` in them."""

    path: str
    rests: Mapping[str, str]

    def whole(self) -> str | None:
        """The name of the matrix; None where there is none, or where adapters trained several."""
        for ending in _WHOLE:
            held = sorted(rest for rest in self.rests if ending.fullmatch(rest))
            if len(held) == 1 or _TRAINED in held:
                return self.rests[_TRAINED if _TRAINED in held else held[0]]
            if held:
                return None
        return None

    def holds_a_matrix(self) -> bool:
        """Whether there is one here, in whatever form."""
        return bool(self.whole() or self.packed() or self.pieces() or self.added())

    def packed(self) -> str | None:
        """A tensor that shows the matrix to be stored quantised; the better known first."""
        known = (self.rests[ending] for ending in PACKED_SUFFIXES if ending in self.rests)
        others = (
            name
            for rest, name in sorted(self.rests.items())
            if _DIRECT.fullmatch(rest) and looks_packed(rest)
        )
        return next(known, next(others, None))

    def codes(self) -> list[str]:
        """What lies in the matrix's own module and is said of codes, beside the matrix."""
        return [name for rest, name in self.rests.items() if self.whole() and looks_packed(rest)]

    def pieces(self) -> list[str]:
        """Tensors of which the matrix may be made."""
        return sorted(name for rest, name in self.rests.items() if _PIECE.fullmatch(rest))

    def added(self) -> list[str]:
        """Tensors with further rows of the matrix."""
        return sorted(name for rest, name in self.rests.items() if _ADDED.fullmatch(rest))

    def updates(self) -> list[str]:
        """Tensors that change the matrix when the model is loaded."""
        return sorted(name for rest, name in self.rests.items() if _UPDATE.search(rest))

    def forms(self) -> list[str]:
        """Every tensor that is the matrix, before or after a training."""
        return [name for rest, name in self.rests.items() if any(form.fullmatch(rest) for form in _WHOLE)]

    def copies(self) -> list[str]:
        """What an adapter trained anew, beside the original."""
        saved = [name for rest, name in self.rests.items() if _WHOLE[0].fullmatch(rest)]
        return sorted(saved) if ".original_module.weight" in self.rests else []

    def last_of_sequence(self, outline_of: OutlineOf, rows: int | None) -> str | None:
        """The matrix that ends a small sequence of layers: the only one with a row for each token.

        rows: of the vocabulary. None where the pieces are something else, or their headers were not read.
        """
        held = {
            int(number[1]): name for rest, name in self.rests.items() if (number := _NUMBER.fullmatch(rest))
        }
        specs = [spec for number in sorted(held) if (spec := outline_of(held[number]))]
        if rows is None or len(specs) < max(2, len(held)):
            return None
        *before, last = (spec.shape for spec in specs)
        ends = len(last) == 2 and 10 * last[0] >= 9 * rows
        leads = all(len(shape) in (1, 2) and shape[0] == last[-1] for shape in before)
        return held[max(held)] if ends and leads and last[0] != last[1] else None

    def unknown(self) -> list[str]:
        """Tensors that are nothing of the kind: whatever they are, the matrix may be one of them."""
        several = self.whole() is None
        return sorted(
            name
            for rest, name in self.rests.items()
            if (several and _WHOLE[0].fullmatch(rest))
            or not (
                any(known.fullmatch(rest) for known in (*_WHOLE, _PIECE, _ADDED))
                or _UPDATE.search(rest)
                or _HARMLESS.search(rest)
            )
        )
