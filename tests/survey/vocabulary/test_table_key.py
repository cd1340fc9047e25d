"""Which tokenizers share a token table: those that differ in nothing that decides it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import tokenizers as made
from support.tokenizer_requests import of

from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.table_key import PARSED_BYTES, table_key


def with_settings(main: str = "tokenizer__json", content: bytes = made.byte_level(), **settings: Any) -> TokenizerFiles:  # fmt: skip
    return of(**{main: content, "tokenizer_config__json": json.dumps(settings).encode()})


def listed(config: dict[str, Any], **settings: Any) -> TokenizerFiles:
    """A vocab.txt, whose class and size its companions state."""
    files = with_settings("vocab__txt", b"[UNK]\na\n", **settings)
    return TokenizerFiles(files.main, {**files.contents, "config.json": json.dumps(config).encode()})


CHAT = {"chat_template": "{{ messages }}", "model_max_length": 32_768}
BERT = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
SAME = {
    "a chat template and a length": (with_settings(), with_settings(**CHAT)),
    "companions that state nothing": (of(tokenizer__json=made.byte_level()), with_settings(**CHAT)),
    "a class beside a tokenizer.json": (with_settings(), with_settings(tokenizer_class="LlamaTokenizer")),
    "the order of keys": (with_settings(a=1, unk_token="u"), with_settings(unk_token="u", a=1)),
    "another model's layers": (listed({"num_layers": 2}, **BERT), listed({"num_layers": 3}, **BERT)),
    "a template beside a list": (listed({}, **BERT), listed({}, chat_template="{}", **BERT)),
}
OTHER = {
    "the vocabulary": (with_settings(), with_settings(content=made.byte_level(normalizer={"type": "NFC"}))),
    "an added token": (
        with_settings(),
        with_settings(added_tokens_decoder={"13": {"content": "<x>", "special": True}}),
    ),
    "whether it is special": tuple(
        with_settings(added_tokens_decoder={"13": {"content": "<x>", "special": special}})
        for special in (True, False)
    ),
    "a special token": (with_settings(), with_settings(pad_token="the")),
    "a file that is no JSON": (with_settings(), of(tokenizer__json=made.byte_level(), added_tokens__json=b"{")),
    "the class of a list": (listed({}, **BERT), listed({}, do_lower_case=False)),
    "a setting of the class": (listed({}, **BERT), listed({}, **BERT | {"do_lower_case": True})),
    "the model's type": (listed({"model_type": "bert"}), listed({"model_type": "xlm-roberta"})),
    "the model's rows": (listed({"vocab_size": 3}, **BERT), listed({"vocab_size": 4}, **BERT)),
    "merges": (of(vocab__json=b"{}", merges__txt=b"a b"), of(vocab__json=b"{}", merges__txt=b"a  b")),
    "the name of the file": (of(vocab__txt=b"a"), of(rwkv_vocab__txt=b"a")),
    "companions too long to look into": (
        with_settings(chat_template="a" * PARSED_BYTES),
        with_settings(chat_template="b" * PARSED_BYTES),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME)
def test_what_decides_no_token_leaves_the_key(first: TokenizerFiles, second: TokenizerFiles) -> None:
    assert table_key(first) == table_key(second)


@pytest.mark.parametrize(("first", "second"), OTHER.values(), ids=OTHER)
def test_what_may_decide_a_token_changes_the_key(first: TokenizerFiles, second: TokenizerFiles) -> None:
    assert table_key(first) != table_key(second)


def test_another_version_of_a_library_names_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = table_key(with_settings())
    monkeypatch.setattr(
        "survey.vocabulary.table_key._versions", lambda: "names 2 tokenizers 0.0 sentencepiece 0.0"
    )
    assert table_key(with_settings()) != before
