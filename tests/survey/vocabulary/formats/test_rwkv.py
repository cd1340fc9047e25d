"""RWKV's list of Python literals: read as strings, never evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import vocabularies as made

from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.vocabulary.entries import BadVocabulary, Vocabulary
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.formats.rwkv import from_rwkv
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import REACHES

NAME = "rwkv_vocab_v20230424.txt"
TOKENS: list[str | bytes] = [
    "\x00",
    "a",
    "'",
    " the",
    "\n",
    "the",
    b"\xe2\x96",
    b"\xff",
    "日本",
    "it's",
    'a"b',
    "\\",
]
LINES = "".join(
    f"{number} {token!r} {len(token.encode() if isinstance(token, str) else token)}\n"
    for number, token in enumerate(TOKENS, 1)
)


def read(folder: Path) -> Vocabulary:
    checkpoint = FolderCheckpoint(folder)
    return parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))


@pytest.mark.parametrize("name", [NAME, "vocab.txt"])
def test_each_line_is_a_token_and_id_0_ends_a_text(tmp_path: Path, name: str) -> None:
    vocabulary = read(made.folder(tmp_path, {name: LINES.encode()}))
    assert [vocabulary.entries[number].text for number in range(len(TOKENS) + 1)] == [
        "<|endoftext|>", "\x00", "a", "'", " the", "\n", "the", "\\xe2\\x96", "\\xff", "日本", "it's", 'a"b', "\\",
    ]  # fmt: skip
    assert vocabulary.entries[0].special
    assert vocabulary.encode is not None
    assert vocabulary.encode(["the the", "it's", "日本a", "z"]) == [[6, 4], [10], [9, 2], []]
    table = token_table(vocabulary, 13)
    kinds = [REACHES[kind & 7] for kind in table.kinds]
    assert kinds[0] == "special"
    assert kinds[7:9] == ["fragment", "unreachable"]
    assert set(kinds[1:7] + kinds[9:]) == {"reachable"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"eos_token": "<s>", "bos_token": "<s>"}, "<s>"),
        ({"added_tokens_decoder": {"0": {"content": "<end>", "special": True}}}, "<end>"),
    ],
    ids=["named", "listed"],
)
def test_its_companions_say_how_id_0_is_called(
    tmp_path: Path, settings: dict[str, object], text: str
) -> None:
    vocabulary = read(made.folder(tmp_path, {NAME: LINES.encode()}, **settings))
    assert vocabulary.entries[0].text == text
    assert vocabulary.size == len(TOKENS) + 1


BROKEN = {
    "a call": "1 __import__('os').getcwd() 5\n",
    "a call in a string's clothes": "1 'a'.upper() 1\n",
    "an f-string": "1 f'{1+1}' 1\n",
    "two strings": "1 'a' 'b' 2\n",
    "an addition": "1 'a'+'b' 2\n",
    "nested brackets": "1 " + "(" * 5000 + "'a'" + ")" * 5000 + " 1\n",
    "a number": "1 12 2\n",
    "another length": "1 'ab' 3\n",
    "half a character": "1 '\\ud800' 3\n",
    "an escape that there is not": "1 '\\q' 2\n",
    "an escape cut short": "1 '\\x1' 2\n",
    "a name that there is not": "1 '\\N{nobody}' 2\n",
    "a huge literal": "1 '" + "a" * 20_000 + "' 20000\n",
    "no length": "1 'a'\n",
    "a negative id": "-1 'a' 1\n",
    "letters in bytes": "1 b'é' 2\n",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_anything_but_a_literal_string_is_refused(line: str) -> None:
    with pytest.raises(BadVocabulary, match=r"^line 13: "):
        from_rwkv((LINES + line).encode(), "<s>")


def test_a_long_list_takes_no_long_time(tmp_path: Path) -> None:
    lines = "".join(
        f"{number} {f'token {number}'!r} {len(f'token {number}')}\n" for number in range(1, 65_530)
    )
    vocabulary = from_rwkv(lines.encode(), "<s>")
    table = token_table(vocabulary, 65_536)
    assert table.size == 65_530
    assert {REACHES[kind & 7] for kind in table.kinds[1:]} == {"reachable"}
    assert json.dumps(table.texts[1]) == '"token 1"'
