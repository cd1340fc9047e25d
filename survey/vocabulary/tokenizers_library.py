"""Encoders by the tokenizers library: whole tokenizers, lists of word pieces, and pairs that merge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from survey.vocabulary.cut_rules import CutRule
from survey.vocabulary.entries import BadVocabulary, Encode
from survey.vocabulary.spelling import BYTE_FALLBACK, WORD_END

BATCH_TEXTS = 128  # 4,096 at once leave the cache: a third more CPU time; 256,000 take a gigabyte
_MERGES = '"merges":'


def word_piece_encoder(vocab: Mapping[str, int], *, lowercase: bool) -> Encode:
    """BERT's encoder of a vocab.txt. Raises BadVocabulary."""
    tokenizer = built(lambda: Tokenizer(models.WordPiece(vocab=dict(vocab), unk_token="[UNK]")))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return encoder_of(tokenizer)


def byte_level_encoder(vocab: Mapping[str, int], merges: str) -> Encode:
    """The encoder of GPT-2's two files. merges: a pair of pieces per line. Raises BadVocabulary."""
    pairs = _pairs(merges)
    tokenizer = built(lambda: Tokenizer(models.BPE(vocab=dict(vocab), merges=pairs)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return encoder_of(tokenizer)


def cut_rule_tokenizer(
    vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], rule: CutRule, added: Sequence[str]
) -> Tokenizer:
    """A tokenizer of GPT-2's bytes. added: tokens that are taken from a text first. Raises BadVocabulary."""
    tokenizer = built(
        lambda: Tokenizer(models.BPE(vocab=dict(vocab), merges=list(merges), ignore_merges=rule.whole))
    )
    if rule.nfc:
        tokenizer.normalizer = normalizers.NFC()
    words = rule.words and pre_tokenizers.Split(Regex(rule.words), behavior="isolated")
    digits = pre_tokenizers.Digits(individual_digits=True) if rule.digits else None
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not words)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([step for step in (digits, words, last) if step])
    with _panics():
        tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added if text])
    return tokenizer


def clip_encoder(vocab: Mapping[str, int], merges: str) -> Encode:
    """The encoder of CLIP's two files, whose words end with a mark. Raises BadVocabulary."""
    pairs = _pairs(merges)
    tokenizer = built(
        lambda: Tokenizer(models.BPE(vocab=dict(vocab), merges=pairs, end_of_word_suffix=WORD_END))
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return encoder_of(tokenizer)


def _pairs(merges: str) -> list[tuple[str, str]]:
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    if any(line.count(" ") != 1 for line in lines):
        raise BadVocabulary("merges.txt: expected two pieces on each line")
    return [(left, right) for left, _, right in (line.partition(" ") for line in lines)]


def merged_ids(tokenizer: Tokenizer) -> Callable[[], Set[int]] | None:
    """Lists the ids that a BPE's rules make, in no text or in some; None if its rules make any.

    They are those of single characters, of bytes, of the unknown token, and of each merge. A prefix of pieces
    inside words, which is cut off as they merge, is no BPE's in use: it is not looked into.
    """
    model = tokenizer.model
    if not isinstance(model, models.BPE) or model.ignore_merges or model.continuing_subword_prefix:
        return None

    def ids() -> Set[int]:
        single = 1 + len(model.end_of_word_suffix or "")
        vocab = tokenizer.get_vocab(with_added_tokens=False)
        made = {
            number
            for piece, number in vocab.items()
            if len(piece) <= single or BYTE_FALLBACK.fullmatch(piece) or piece == model.unk_token
        }
        return made | {vocab[piece] for piece in map("".join, _merges(model)) if piece in vocab}

    return ids


def _merges(model: models.BPE) -> list[list[str]]:
    """The pairs that it merges, which only its own serialisation tells."""
    state: str = model.__getstate__().decode()
    start = state.rindex(_MERGES) + len(_MERGES)  # last; in a piece its quotes would be escaped
    pairs: list[list[str]] = json.JSONDecoder().raw_decode(state, start)[0]
    return pairs


@contextmanager
def _panics() -> Iterator[None]:
    """Raise BadVocabulary if the library panics."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # from Rust; it is no Exception
            raise
        raise BadVocabulary(f"the tokenizers library panics: {str(error)[:300]}") from error


def built(make: Callable[[], Tokenizer]) -> Tokenizer:
    """The tokenizer that `make` builds, which encodes each text whole. Raises BadVocabulary."""
    try:
        with _panics():
            tokenizer = make()
    except BadVocabulary:
        raise
    except Exception as error:  # the library raises bare Exceptions, too
        raise BadVocabulary(f"the tokenizers library refuses it: {str(error)[:300]}") from error
    # Files may ask to truncate or to pad every text; and dropout would make the result random.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    return tokenizer


def encoder_of(tokenizer: Tokenizer) -> Encode:
    """The encoder of a tokenizer, without the special tokens that it puts around a text."""

    def cut(texts: Sequence[str]) -> list[list[int]]:
        try:
            with _panics():
                encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
                return [encoding.ids for encoding in encodings]
        except BadVocabulary:
            raise
        except Exception:  # noqa: BLE001 - bare: an unknown character without an unknown token
            half = len(texts) // 2
            return [*cut(texts[:half]), *cut(texts[half:])] if half else [[]]

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [
            ids
            for start in range(0, len(texts), BATCH_TEXTS)
            for ids in cut(texts[start : start + BATCH_TEXTS])
        ]

    return encode
