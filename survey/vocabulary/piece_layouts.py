"""Which ids the pieces of a SentencePiece model have, by the class of tokenizer that reads it.

fairseq's dictionaries begin with four tokens of their own: its `,` has id 4, and is piece 3 of the model. The
classes of models that were trained with it shift all pieces by that offset, and append further tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from survey.vocabulary import language_codes
from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import BadVocabulary, is_id
from survey.vocabulary.tokenizer_classes import (
    FAIRSEQ_TOKENS,
    OWN_IDS,
    OWN_IDS_AND_CODE,
    class_of,
    described,
)

MAX_EXTRA_IDS = 10_000  # T5 has 100; a short file could state any number


class PieceLayout(NamedTuple):
    """Ids from 0: the tokens `first`, the model's pieces from piece `skipped` on, the tokens `last`.

    complete: whether there are no further tokens.
    """

    first: tuple[str, ...] = ()
    skipped: int = 0
    last: tuple[str, ...] = ()
    complete: bool = True


def _fairseq(*last: str) -> Callable[[Companions], PieceLayout]:
    return lambda companions: PieceLayout(FAIRSEQ_TOKENS, 3, last)


def _camembert(companions: Companions) -> PieceLayout:
    first = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED")
    return PieceLayout(first, 1, ("<mask>",))


def _plbart(companions: Companions) -> PieceLayout:
    kind = companions.setting("language_codes", "base")
    if kind not in language_codes.PLBART:
        raise BadVocabulary(f"language_codes is {kind[:80]!r}, expected base or multi")
    codes = language_codes.PLBART[kind]
    return PieceLayout(FAIRSEQ_TOKENS, 3, (*codes, "<mask>") if kind == "base" else codes)


def _t5(companions: Companions) -> PieceLayout:
    """The highest id is <extra_id_0>: the sentinels descend."""
    named = [text for text in companions.special if text.startswith("<extra_id_")]
    count = companions.settings.get("extra_ids", len(named) or 100)
    if not is_id(count) or count > MAX_EXTRA_IDS:
        raise BadVocabulary(f"extra_ids is {str(count)[:80]}, expected a number up to {MAX_EXTRA_IDS:,}")
    return PieceLayout(last=tuple(f"<extra_id_{number}>" for number in reversed(range(count))))


def _pegasus(companions: Companions) -> PieceLayout:
    """Ids 2 to 104 were used in pretraining only: two masks, and placeholders."""
    offset = companions.settings.get("offset", 103)
    masks: tuple[str, ...] = ("<mask_1>", "<mask_2>")
    if "mask_token_sent" in companions.settings and companions.settings["mask_token_sent"] is None:
        masks = ()
    if (offset, len(masks)) not in ((103, 2), (0, 0)):
        raise BadVocabulary(f"offset is {str(offset)[:80]} with {len(masks)} masks, expected 103 with 2")
    unused = (f"<unk_{number}>" for number in range(2, offset))
    return PieceLayout(("<pad>", "</s>", *masks, *unused), 2)


LAYOUTS: Mapping[str, Callable[[Companions], PieceLayout]] = {
    **dict.fromkeys(OWN_IDS, lambda companions: PieceLayout()),
    **dict.fromkeys(OWN_IDS_AND_CODE, lambda companions: PieceLayout(complete=False)),
    **dict.fromkeys(("XLMRobertaTokenizer", "LayoutXLMTokenizer", "MLukeTokenizer"), _fairseq("<mask>")),
    "CamembertTokenizer": _camembert,
    "MBartTokenizer": _fairseq(*language_codes.MBART, "<mask>"),
    "MBart50Tokenizer": _fairseq(*language_codes.MBART50, "<mask>"),
    "NllbTokenizer": _fairseq(*language_codes.NLLB, "<mask>"),
    "PLBartTokenizer": _plbart,
    "PegasusTokenizer": _pegasus,
    "SeamlessM4TTokenizer": lambda companions: PieceLayout(("<pad>", "<unk>", "<s>", "</s>"), 3),
    "T5Tokenizer": _t5,
    "XGLMTokenizer": _fairseq(*(f"<madeupword{number}>" for number in range(7))),
}


def piece_layout(main: str, pieces: int, companions: Companions) -> PieceLayout:
    """The layout of a model of this many pieces in the file `main`.

    Raises BadVocabulary if no rule says which ids they have: names one row off would be worse than none.
    """
    name = class_of(companions)
    if name is not None and name in LAYOUTS:
        return LAYOUTS[name](companions)
    beside = sum(number >= pieces for number in companions.added)
    if companions.vocab_rows == pieces + beside:
        return PieceLayout()  # no other layout has as few rows
    nothing_stated = companions.tokenizer_class is None and not companions.model_types
    if main == "tokenizer.model" and nothing_stated and companions.vocab_rows is None:
        return PieceLayout()  # the format in which Llama and Mistral were published
    raise BadVocabulary(
        f"no rule says which ids its {pieces:,} pieces have: {described(companions)}, "
        f"vocab_size {companions.vocab_rows or 'not stated'}; a tokenizer.json beside it would say so"
    )


def reads_pieces(companions: Companions) -> bool:
    """Whether the class of tokenizer reads a SentencePiece model and no list of ids beside it."""
    return class_of(companions) in LAYOUTS
