"""How tokenizers of llama.cpp cut text: by merges in words that a named rule cuts, or by scores of pieces.

Of other kinds of tokenizers, and of rules that `cut_rules.py` does not know, nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from survey.errors import storable
from survey.formats.gguf_tokens import BYTE_LEVEL, SENTENCEPIECE, GgufTokens
from survey.vocabulary.cut_rules import CUT_RULES
from survey.vocabulary.entries import SPACE_MARK, BadVocabulary, Encode
from survey.vocabulary.sentencepiece_library import Pieces, loaded, piece_encoder, serialised
from survey.vocabulary.tokenizers_library import cut_rule_tokenizer, encoder_of, merged_ids

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of tokens


class Cutting(NamedTuple):
    """An encoder, and the ids that it may give, as a Vocabulary has them."""

    encode: Encode
    made_ids: Callable[[], Set[int]] | None = None


def cutting_of(tokens: GgufTokens) -> Cutting | None:
    """How a vocabulary cuts text; None if it does not say, or if nothing is known of how it says it.

    Raises BadVocabulary if the tokens do not make such a tokenizer.
    """
    pieces = [storable(text.decode("utf-8", "backslashreplace")) for text in tokens.texts]
    kinds = tokens.types or (NORMAL,) * len(pieces)
    if tokens.model == BYTE_LEVEL and tokens.pre in CUT_RULES and tokens.merges:
        return _by_merges(pieces, kinds, tokens)
    if tokens.model == SENTENCEPIECE and len(tokens.scores) == len(pieces):
        return _by_scores(pieces, kinds, tokens)
    return None


def _by_merges(pieces: Sequence[str], kinds: Sequence[int], tokens: GgufTokens) -> Cutting:
    vocab = {piece: number for number, piece in enumerate(pieces)}
    texts = (storable(merge.decode("utf-8", "backslashreplace")) for merge in tokens.merges)
    merges = [(left, right) for left, _, right in (text.partition(" ") for text in texts)]
    if not all(left in vocab and right in vocab and left + right in vocab for left, right in merges):
        raise BadVocabulary("a merge is of pieces that are no tokens, or makes none")
    added = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind in (CONTROL, USER_DEFINED)]
    tokenizer = cut_rule_tokenizer(vocab, merges, CUT_RULES[tokens.pre], added)
    return Cutting(encoder_of(tokenizer), merged_ids(tokenizer))


def _by_scores(pieces: Sequence[str], kinds: Sequence[int], tokens: GgufTokens) -> Cutting:
    if (strange := next((kind for kind in kinds if not NORMAL <= kind <= BYTE), None)) is not None:
        raise BadVocabulary(f"a token is of type {strange}, expected {NORMAL} to {BYTE}")
    if not all(map(math.isfinite, tokens.scores)):
        raise BadVocabulary("the score of a token is no finite number")
    # A user's text was stored with spaces, which the library knows by their mark.
    marked = [
        piece.replace(" ", SPACE_MARK) if kind == USER_DEFINED else piece
        for piece, kind in zip(pieces, kinds, strict=True)
    ]
    model = Pieces(marked, tokens.scores, kinds, tokens.space_prefix, tokens.extra_spaces)
    return Cutting(piece_encoder(loaded(serialised(model)), int, int))
