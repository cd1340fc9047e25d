"""Tokenizers' files of each class for tests, small, and built with the libraries that made the real ones."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

WORDS = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "off", "hills"]
TEXT = [" ".join(WORDS[start:] + WORDS[:start]) for start in range(len(WORDS))] * 4
START, END = "<|startoftext|>", "<|endoftext|>"


@cache
def sentencepiece(**options: Any) -> bytes:
    """A model of a few dozen pieces; the first three are <unk>, <s> and </s>."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    default: dict[str, Any] = {
        "vocab_size": 45,
        "model_type": "unigram",
        "hard_vocab_limit": False,
        "minloglevel": 5,
    }
    SentencePieceTrainer.Train(sentence_iterator=iter(TEXT), model_writer=model, **default | options)
    return model.getvalue()


def of_t5() -> bytes:
    """The first three pieces are <pad>, </s> and <unk>."""
    return sentencepiece(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)


def of_deberta() -> bytes:
    names = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    ids = {f"{name}_id": number for number, name in enumerate(names)}
    return sentencepiece(**ids, **{f"{name}_piece": text for name, text in names.items()})


def pieces(model: bytes) -> list[str]:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return [processor.IdToPiece(number) for number in range(processor.GetPieceSize())]


def listed(model: bytes, first: list[str], last: list[str]) -> bytes:
    """A vocab.json with the model's pieces in another order than the model's."""
    ordinary = pieces(model)[3:]
    texts = [*first, *reversed(ordinary), *last]
    return json.dumps({text: number for number, text in enumerate(texts)}).encode()


@cache
def byte_level(suffix: str = "") -> dict[str, bytes]:
    """vocab.json and merges.txt of GPT-2's kind; of CLIP's with the suffix </w>."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    marks: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(**marks))
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), bytes_only])
    tokenizer.pre_tokenizer = words if suffix else bytes_only
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=alphabet, special_tokens=[START, END], **marks
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    return {
        "vocab.json": json.dumps(model["vocab"]).encode(),
        "merges.txt": f"#version: 0.2\n{merges}".encode(),
    }


def folder(
    path: Path, files: Mapping[str, bytes], tokenizer_class: str | None = None, **settings: Any
) -> Path:
    """A folder of these files, a tokenizer_config.json and a config.json that states no helpful size."""
    path.mkdir(parents=True, exist_ok=True)
    stated = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
    config = {"tokenizer_config.json": stated | settings, "config.json": {"vocab_size": 9_999}}
    for name, values in config.items():
        (path / name).write_text(json.dumps(values))
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path
