"""Every id has the text that transformers gives it, for each class of tokenizers and its files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import vocabularies as made

from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.vocabulary import language_codes
from survey.vocabulary.entries import BadVocabulary, Vocabulary
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.piece_layouts import LAYOUTS
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import REACHES
from survey.vocabulary.tokenizer_classes import CLASS_OF_TYPE, VOCAB_FILE_CLASSES

FAIRSEQ = made.sentencepiece
SMALL_VOCAB = ["<s>", "<pad>", "</s>", "<unk>"]
# transformers 5 builds these from the pieces of a SentencePiece model, or from the two files of a BPE.
OF_TRANSFORMERS: dict[str, tuple[str, dict[str, bytes], dict[str, Any]]] = {
    "XLM-R": ("XLMRobertaTokenizer", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "a fast class": ("XLMRobertaTokenizerFast", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "CamemBERT": ("CamembertTokenizer", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "mBART": ("MBartTokenizer", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "mBART-50": ("MBart50Tokenizer", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "PLBART": ("PLBartTokenizer", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "Seamless": ("SeamlessM4TTokenizer", {"sentencepiece.bpe.model": FAIRSEQ()}, {}),
    "Llama": ("LlamaTokenizer", {"tokenizer.model": FAIRSEQ(model_type="bpe", byte_fallback=True, vocab_size=300)}, {}),
    "Llama with a token that is only named": ("LlamaTokenizer", {"tokenizer.model": FAIRSEQ()}, {"pad_token": "[PAD]"}),
    "T5": ("T5Tokenizer", {"spiece.model": made.of_t5()}, {}),
    "T5 of five sentinels": ("T5Tokenizer", {"spiece.model": made.of_t5()}, {"extra_ids": 5}),
    "mT5": ("T5Tokenizer", {"spiece.model": made.of_t5()}, {"extra_ids": 0}),
    "Pegasus": ("PegasusTokenizer", {"spiece.model": made.of_t5()}, {}),
    "DeBERTa": ("DebertaV2Tokenizer", {"spm.model": made.of_deberta()}, {}),
    "XLNet": ("XLNetTokenizer", {"spiece.model": FAIRSEQ()}, {}),
    "GPT-SW3": ("GPTSw3Tokenizer", {"spiece.model": FAIRSEQ()}, {}),
    "SigLIP": ("SiglipTokenizer", {"spiece.model": made.of_t5()}, {}),
    "RemBERT": ("RemBertTokenizer", {"sentencepiece.model": FAIRSEQ()}, {}),
    "SpeechT5": ("SpeechT5Tokenizer", {"spm_char.model": FAIRSEQ(model_type="char")}, {}),
    "BERT generation": ("BertGenerationTokenizer", {"spiece.model": FAIRSEQ()}, {}),
    "Speech2Text": (
        "Speech2TextTokenizer",
        {"vocab.json": made.listed(FAIRSEQ(), SMALL_VOCAB, []), "sentencepiece.bpe.model": FAIRSEQ()},
        {},
    ),
    "M2M100": (
        "M2M100Tokenizer",
        {"vocab.json": made.listed(FAIRSEQ(), SMALL_VOCAB, []), "sentencepiece.bpe.model": FAIRSEQ()},
        {},
    ),
    "Marian": (
        "MarianTokenizer",
        {
            "vocab.json": made.listed(FAIRSEQ(), ["</s>", "<unk>"], [">>fr<<", "<pad>"]),
            "source.spm": FAIRSEQ(),
            "target.spm": made.of_t5(),
        },
        {},
    ),
    "GPT-2": ("GPT2Tokenizer", made.byte_level(), {}),
    "CLIP": ("CLIPTokenizer", made.byte_level("</w>"), {}),
    "BERT": ("BertTokenizer", {"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\n"}, {}),
    "PhoBERT": ("PhobertTokenizer", {"vocab.txt": b"ca@@ 9\nt 8\ncat 3\n", "bpe.codes": b"c a 3\nca t</w> 2\n"}, {}),
    "CTRL": ("CTRLTokenizer", {"vocab.json": b'{"ca@@": 0, "t": 1, "<unk>": 2}', "merges.txt": b"#version\nc a\n"}, {}),
}  # fmt: skip


def read(path: Path) -> Vocabulary:
    checkpoint = FolderCheckpoint(path)
    return parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))


def texts(vocabulary: Vocabulary) -> list[str | None]:
    entries = vocabulary.entries
    return [entries[number].text if number in entries else None for number in range(vocabulary.size)]


def reach(vocabulary: Vocabulary) -> dict[str, str | None]:
    table = token_table(vocabulary, vocabulary.size)
    return dict(zip(table.texts, (REACHES[kind & 7] for kind in table.kinds), strict=True))


def transformers_texts(name: str, path: Path) -> list[str | None]:
    """The piece of each id, by the class of transformers itself."""
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional packages that do not change ids
        tokenizer = getattr(transformers, name.removesuffix("Fast")).from_pretrained(path)
    languages = getattr(tokenizer, "id_to_lang_token", {})
    size = max([*tokenizer.get_vocab().values(), *languages]) + 1
    return [tokenizer.convert_ids_to_tokens(number) for number in range(size)]


def displayed(piece: str, name: str) -> str:
    """A piece as it is shown: spaces and bytes as text."""
    from tokenizers import decoders

    if name in ("GPT2Tokenizer", "CLIPTokenizer") and piece not in (made.START, made.END):
        text = piece.removesuffix("</w>")
        data = decoders.ByteLevel().decode([text])
        # An incomplete character is shown by its bytes, which the decoder replaces.
        return data + piece[len(text) :] if "�" not in data else "�"
    return piece.replace("▁", " ")


@pytest.mark.parametrize(("name", "files", "settings"), OF_TRANSFORMERS.values(), ids=OF_TRANSFORMERS)
def test_every_id_has_the_text_that_transformers_gives_it(
    tmp_path: Path, name: str, files: dict[str, bytes], settings: dict[str, Any]
) -> None:
    path = made.folder(tmp_path, files, name, **settings)
    expected = [None if piece is None else displayed(piece, name) for piece in transformers_texts(name, path)]
    vocabulary = read(path)
    named = ["�" if text is not None and text.startswith("\\x") else text for text in texts(vocabulary)]
    assert named == expected
    assert vocabulary.complete
    assert vocabulary.remarks == ()


CONVERTED = {
    "XGLMTokenizer": "XGLMConverter",
    "XLMRobertaTokenizer": "XLMRobertaConverter",
    "LayoutXLMTokenizer": "XLMRobertaConverter",
    "SeamlessM4TTokenizer": "SeamlessM4TConverter",
    "CamembertTokenizer": "CamembertConverter",
}


@pytest.mark.parametrize(("name", "converter"), CONVERTED.items())
def test_every_id_has_the_text_of_the_conversion_to_a_fast_tokenizer(
    tmp_path: Path, name: str, converter: str
) -> None:
    from transformers import convert_slow_tokenizer

    path = made.folder(tmp_path, {"sentencepiece.bpe.model": FAIRSEQ()}, name)
    slow = SimpleNamespace(vocab_file=str(path / "sentencepiece.bpe.model"), unk_token_id=1)
    converting = getattr(convert_slow_tokenizer, converter)(slow)
    expected = [piece.replace("▁", " ") for piece, _ in converting.vocab(converting.proto)]
    assert texts(read(path)) == expected


def test_nllbs_languages_and_its_mask_follow_the_pieces(tmp_path: Path) -> None:
    path = made.folder(tmp_path, {"sentencepiece.bpe.model": FAIRSEQ()}, "NllbTokenizer")
    model = [piece.replace("▁", " ") for piece in made.pieces(FAIRSEQ())]
    expected = [*SMALL_VOCAB, *model[3:], *language_codes.NLLB, "<mask>"]
    assert texts(read(path)) == expected


def test_the_languages_are_those_of_transformers() -> None:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES as MBART
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART50
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB
    from transformers.models.plbart.tokenization_plbart import FAIRSEQ_LANGUAGE_CODES as PLBART

    assert {name: list(codes) for name, codes in language_codes.M2M100.items()} == M2M100
    assert list(language_codes.MBART) == MBART
    assert list(language_codes.MBART50) == MBART50
    assert list(language_codes.NLLB) == NLLB
    assert {name: list(codes) for name, codes in language_codes.PLBART.items()} == PLBART


def test_a_types_class_is_that_of_transformers() -> None:
    """Types that it does not have are of older versions, or of models with code of their own."""
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES as CLASSES

    generic = {None, "TokenizersBackend", "MistralCommonBackend"}
    known = {kind: name for kind, name in CLASSES.items() if name not in generic}
    differing = {
        kind: (name, known[kind]) for kind, name in CLASS_OF_TYPE.items() if known.get(kind, name) != name
    }
    assert differing == {}
    assert set(CLASS_OF_TYPE.values()) <= {*LAYOUTS, *VOCAB_FILE_CLASSES}


BY_TYPE: dict[str, tuple[str, Mapping[str, Any]]] = {
    "tokenizer_class of the model's config": (" the", {"tokenizer_class": "XLMRobertaTokenizer"}),
    "model_type": (" the", {"model_type": "xlm-roberta"}),
    "model_type of a language part": (" the", {"text_config": {"model_type": "xlm-roberta"}}),
}


@pytest.mark.parametrize(("word", "config"), BY_TYPE.values(), ids=BY_TYPE)
def test_the_class_follows_from_the_models_config(
    tmp_path: Path, word: str, config: Mapping[str, Any]
) -> None:
    path = made.folder(tmp_path, {"sentencepiece.bpe.model": FAIRSEQ()})
    (path / "config.json").write_text(json.dumps(config))
    vocabulary = read(path)
    assert texts(vocabulary)[:4] == SMALL_VOCAB
    assert texts(vocabulary)[-1] == "<mask>"
    # The encoder speaks of the same ids.
    assert vocabulary.encode is not None
    ((number,),) = vocabulary.encode([word])
    assert vocabulary.entries[number].text == word


UNKNOWN: dict[str, tuple[str, bytes, Mapping[str, Any], str]] = {
    "fairseq's file, and no class": (
        "sentencepiece.bpe.model", FAIRSEQ(), {}, "no rule says which ids its 29 pieces have: tokenizer_class is not stated",
    ),
    "an unknown class, one row more": (
        "tokenizer.model", FAIRSEQ(), {"tokenizer_class": "OurTokenizer", "vocab_size": 30}, "tokenizer_class is 'OurTokenizer'",
    ),
    "an unknown type": ("tokenizer.model", FAIRSEQ(), {"model_type": "ours"}, "model_type 'ours'"),
    "T5's file, and no class": ("spiece.model", made.of_t5(), {"vocab_size": 129}, "vocab_size 129"),
    "a class that reads other files": ("spiece.model", FAIRSEQ(), {"tokenizer_class": "GPT2Tokenizer"}, "'GPT2Tokenizer'"),
    "PhoBERT's lines, and no class": ("vocab.txt", b"ca@@ 9\nt 8\n", {}, "each line has a piece and a count"),
    "sentinels without end": (
        "spiece.model", made.of_t5(), {"tokenizer_class": "T5Tokenizer", "extra_ids": 10**9}, "extra_ids is 1000000000",
    ),
    "another offset": (
        "spiece.model", made.of_t5(), {"tokenizer_class": "PegasusTokenizer", "offset": 7}, "offset is 7 with 2 masks",
    ),
    "languages that are not known": (
        "sentencepiece.bpe.model", FAIRSEQ(), {"tokenizer_class": "PLBartTokenizer", "language_codes": "all"}, "language_codes is 'all'",
    ),
    "two vocabularies": (
        "vocab.json", made.listed(FAIRSEQ(), SMALL_VOCAB, []), {"tokenizer_class": "MarianTokenizer", "separate_vocabs": True}, "separate_vocabs is true",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "settings", "problem"), UNKNOWN.values(), ids=UNKNOWN)
def test_files_that_no_rule_understands_give_no_names(
    tmp_path: Path, name: str, content: bytes, settings: Mapping[str, Any], problem: str
) -> None:
    path = made.folder(tmp_path, {name: content}, **settings)
    (path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BadVocabulary, match=problem):
        read(path)


KNOWN_BY_SIZE: dict[str, Callable[[int], Mapping[str, Any]]] = {
    "as many rows as pieces": lambda pieces: {"model_type": "ours", "vocab_size": pieces},
    "no config at all": lambda pieces: {},
}


@pytest.mark.parametrize("config", KNOWN_BY_SIZE.values(), ids=KNOWN_BY_SIZE)
def test_pieces_keep_their_ids_if_nothing_else_is_possible(
    tmp_path: Path, config: Callable[[int], Mapping[str, Any]]
) -> None:
    path = made.folder(tmp_path, {"tokenizer.model": FAIRSEQ()})
    expected = [piece.replace("▁", " ") for piece in made.pieces(FAIRSEQ())]
    (path / "config.json").write_text(json.dumps(config(len(expected))))
    assert texts(read(path)) == expected


def test_tokens_of_clips_words_are_reached_inside_and_at_the_end(tmp_path: Path) -> None:
    files = made.byte_level("</w>")
    of_files = read(made.folder(tmp_path / "files", files, "CLIPTokenizer"))
    reached = reach(of_files)
    assert reached["cat</w>"] == reached["hills</w>"] == reached["hill"] == reached["do"] == "reachable"
    assert reached["A"] == "unreachable"  # it writes everything in small letters
    # The same tokenizer in one file has the same names.
    vocab = json.loads(files["vocab.json"])
    pairs = [line.split(" ") for line in files["merges.txt"].decode().splitlines()[1:]]
    whole: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor")),
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": pairs, "end_of_word_suffix": "</w>"},
    }  # fmt: skip
    in_one = read(made.folder(tmp_path / "one", {"tokenizer.json": json.dumps(whole).encode()}))
    assert texts(in_one) == texts(of_files)
    assert reach(in_one)["hill"] == "reachable"


def test_marians_tokens_are_reached_in_either_language(tmp_path: Path) -> None:
    name, files, _ = OF_TRANSFORMERS["Marian"]
    other = FAIRSEQ(vocab_size=40, model_type="char")
    reached = reach(read(made.folder(tmp_path, files | {"target.spm": other}, name)))
    assert reached[" the"] == "reachable"  # of the source only
    assert reached["t"] == "reachable"
    assert reached[">>fr<<"] == reached["<pad>"] == reached["</s>"] == "special"


def test_pieces_of_a_shifted_model_are_reached_by_their_own_ids(tmp_path: Path) -> None:
    reached = reach(
        read(made.folder(tmp_path, {"sentencepiece.bpe.model": FAIRSEQ()}, "XLMRobertaTokenizer"))
    )
    assert {text: kind for text, kind in reached.items() if kind != "reachable"} == {
        **dict.fromkeys([*SMALL_VOCAB, "<mask>"], "special"),
    }
