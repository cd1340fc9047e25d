"""Tokenizers' files for tests, written out: what the project parses is not what wrote them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

# GPT-2's byte alphabet, for the few bytes that are used here.
SPACE, E2, NINE_SIX = "Ġ", "â", "ĸ"  # 0x20, 0xE2, 0x96


def special(number: int, content: str, *, is_special: bool = True) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": content, "special": is_special, **flags}


# Rows 0 to 5 are letters and bytes, 6 to 9 come of merges, 10 has none, 11 and 12 are added.
PIECES = ["t", "h", "e", SPACE, E2, NINE_SIX, "th", "the", SPACE + "the", E2 + NINE_SIX, "ehte"]
MERGES = [("t", "h"), ("th", "e"), (SPACE, "the"), (E2, NINE_SIX)]
BYTE_LEVEL_SIZE = 13
BYTE_LEVEL_TEXTS = ["t", "h", "e", " ", "\\xe2", "\\x96", "th", "the", " the", "\\xe2\\x96", "ehte", "<|end|>", "<name>"]  # fmt: skip
BYTE_LEVEL_REACH = ["reachable", "reachable", "reachable", "reachable", "byte", "byte", "reachable", "reachable", "reachable", "fragment", "unreachable", "special", "reachable"]  # fmt: skip


def byte_level(**fields: Any) -> bytes:
    """A tokenizer.json of a byte-level BPE: 13 tokens, of which one cannot be reached."""
    return json.dumps(
        {
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
            "padding": None,
            "added_tokens": [special(11, "<|end|>"), special(12, "<name>", is_special=False)],
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {piece: number for number, piece in enumerate(PIECES)},
                "merges": [list(merge) for merge in MERGES],
            },
            **fields,
        }
    ).encode()  # fmt: skip


def sentencepiece(vocab_size: int = 300) -> bytes:
    """A tokenizer.model with byte fallback, trained on a few words."""
    from sentencepiece import SentencePieceTrainer

    words = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "off", "hills"]
    text = [" ".join(words[start:] + words[:start]) for start in range(len(words))] * 4
    model = io.BytesIO()
    SentencePieceTrainer.Train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=vocab_size,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=5,
    )
    return model.getvalue()


def tiktoken(tokens: list[bytes]) -> bytes:
    return b"".join(base64.b64encode(data) + b" %d\n" % rank for rank, data in enumerate(tokens))


def tekken(tokens: list[bytes], specials: list[str]) -> bytes:
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(data).decode()} for rank, data in enumerate(tokens)
    ]
    return json.dumps(
        {
            "config": {"default_num_special_tokens": 4, "default_vocab_size": 4 + len(tokens)},
            "vocab": vocab,
            "special_tokens": [{"rank": rank, "token_str": text} for rank, text in enumerate(specials)],
        }
    ).encode()


def bpe(vocab: dict[str, int] | None = None, **fields: Any) -> bytes:
    """A tokenizer.json of nothing but letters, and what a test puts in."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1} if vocab is None else vocab, "merges": []}
    empty = dict.fromkeys(
        ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    )
    return json.dumps({"version": "1.0", "added_tokens": [], **empty, "model": model, **fields}).encode()


def split(regex: str) -> dict[str, Any]:
    """A pre-tokenizer that cuts text by a regular expression."""
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def sequence(*normalizers: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(normalizers)}


def replace(char: str, by: str) -> dict[str, Any]:
    """A normalizer."""
    return {"type": "Replace", "pattern": {"String": char}, "content": by}


def sentencepiece_of(*pieces: bytes, charsmap: bytes = b"") -> bytes:
    """A tokenizer.model of these pieces after <unk>, <s> and </s>, byte by byte."""
    kinds = [(b"<unk>", 2), (b"<s>", 3), (b"</s>", 3), *((piece, 1) for piece in pieces)]
    listed = [
        _field(1, _field(1, piece) + b"\x15" + bytes(4) + b"\x18" + bytes([kind])) for piece, kind in kinds
    ]
    return b"".join([*listed, _field(2, b""), _field(3, _field(2, charsmap) if charsmap else b"")])


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that has a length."""
    length, size = b"", len(content)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
