"""The tensors of one module, such as `lm_head`: a matrix, or signs of one.

A stem is the path of the module; the rest of a tensor's name says what the tensor is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from survey.formats.safetensors_header import Outline
from survey.unembedding.quantisation import PACKED_SUFFIXES, looks_packed

OutlineOf = Callable[[str], Outline | None]  # by a tensor's name; None if its header was not read

# The matrix itself. An adapter's trained copy comes before its original; a parameter without a module has
# the bare name.
_WHOLE = (
    re.compile(r"\.modules_to_save(?:\.\w+)?\.weight"),
    re.compile(r"\.weight"),
    re.compile(r"\.base_layer\.weight"),
    re.compile(r"\.original_module\.weight"),
    re.compile(r""),
    re.compile(r"\.(?:embedding|W_E)"),  # Molmo; TransformerLens
    # Wrappers of torch.compile, FSDP and activation checkpointing.
    re.compile(
        r"\.(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)\.)+weight"
    ),
)
_TRAINED = ".modules_to_save.default.weight"
# An update that is stored beside a matrix and not merged into it: LoRA and similar adapters.
_UPDATE = re.compile(
    r"(?i)[._](?:lora|dora|adalora|lokr|loha|hada|oft|boft|vera|ia3|road|fourierft|randlora|delora|delta"
    r"|bone|miss|c3a|hra|shira|vblora|pvera|waveft|gralora|psoft|osf|xlora|lily"
    r"|trainable_tokens|token_adapter|adapter)(?:[._]|$)|delta$|[._]weight_mask$"
)
_ADDED = re.compile(r"\.(?:additional|added|new|extra)_?(?:\w*)(?:\.weight)?")
# Pieces of one matrix, or the heads of several codebooks.
_PIECE = re.compile(r"\.(?:\d+\.weight|weight\.\d+|weight_part_?\d+)")
_NUMBER = re.compile(r"\.(\d+)\.weight")
_DIRECT = re.compile(r"[._](?:weights?[.:_])?[^.]+")  # of the module itself, not of a submodule
# Tensors that may come before, beside or after a matrix in its module.
_HARMLESS = re.compile(
    r"(?i)bias|norm|(?:^|[._])(?:ln|dense|transform|act\w*|dropout|input|output|k|v)(?:[._0-9]|$)|inv_freq"
)


def is_update(rest: str) -> bool:
    """Whether a tensor is an update of a matrix. rest: its name without the path of the matrix."""
    return _UPDATE.search(rest) is not None


@dataclass(frozen=True, slots=True)
class Stem:
    """The tensors of one module. rests: their full names, keyed by the rest after `path`."""

    path: str
    rests: Mapping[str, str]

    def whole(self) -> str | None:
        """The name of the matrix; None if there is none, or if adapters trained several."""
        for ending in _WHOLE:
            matches = sorted(rest for rest in self.rests if ending.fullmatch(rest))
            if len(matches) == 1 or _TRAINED in matches:
                return self.rests[_TRAINED if _TRAINED in matches else matches[0]]
            if matches:
                return None
        return None

    def holds_a_matrix(self) -> bool:
        """Whether the matrix exists here, in whatever form."""
        return bool(self.whole() or self.packed() or self.pieces() or self.added())

    def packed(self) -> str | None:
        """Name of a tensor which shows that the matrix is quantised, best known first; None if none does."""
        known = (self.rests[ending] for ending in PACKED_SUFFIXES if ending in self.rests)
        others = (
            name
            for rest, name in sorted(self.rests.items())
            if _DIRECT.fullmatch(rest) and looks_packed(rest)
        )
        return next(known, next(others, None))

    def codes(self) -> list[str]:
        """Tensors beside the matrix whose names are those of codes; empty if there is no matrix."""
        return [name for rest, name in self.rests.items() if self.whole() and looks_packed(rest)]

    def pieces(self) -> list[str]:
        """Tensors that may be pieces of the matrix."""
        return sorted(name for rest, name in self.rests.items() if _PIECE.fullmatch(rest))

    def added(self) -> list[str]:
        """Tensors with further rows of the matrix."""
        return sorted(name for rest, name in self.rests.items() if _ADDED.fullmatch(rest))

    def updates(self) -> list[str]:
        """Tensors that change the matrix when the model is loaded."""
        return sorted(name for rest, name in self.rests.items() if _UPDATE.search(rest))

    def forms(self) -> list[str]:
        """Every tensor that is the matrix, before or after training."""
        return [name for rest, name in self.rests.items() if any(form.fullmatch(rest) for form in _WHOLE)]

    def known(self) -> list[str]:
        """Every tensor that is the matrix or a part of it, changes it, or decodes it."""
        return [*self.forms(), *self.pieces(), *self.added(), *self.updates(), *self.codes()]

    def copies(self) -> list[str]:
        """Trained copies beside the original in an adapter; empty if the original is not stored."""
        saved = [name for rest, name in self.rests.items() if _WHOLE[0].fullmatch(rest)]
        return sorted(saved) if ".original_module.weight" in self.rests else []

    def last_of_sequence(self, outline_of: OutlineOf, rows: int | None) -> str | None:
        """The last matrix of a small sequence of layers, if it alone has a row for each token.

        rows: V. None if the numbered tensors are no such sequence, or if their headers were not read.
        """
        layers = {
            int(number[1]): name for rest, name in self.rests.items() if (number := _NUMBER.fullmatch(rest))
        }
        outlines = [outline for number in sorted(layers) if (outline := outline_of(layers[number]))]
        if rows is None or len(outlines) < max(2, len(layers)):
            return None
        *before, last = (outline.shape for outline in outlines)
        last_is_matrix = len(last) == 2 and 10 * last[0] >= 9 * rows and last[0] != last[1]
        others_fit = all(len(shape) in (1, 2) and shape[0] == last[-1] for shape in before)
        return layers[max(layers)] if last_is_matrix and others_fit else None

    def unknown(self) -> list[str]:
        """Tensors in no known role, any of which may be the matrix."""
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
