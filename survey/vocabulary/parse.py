"""Parse a tokenizer's files into its vocabulary with the parser of their format.

To support another format, choose its parser in `_parse` or `_by_class`; the parser is a module beside this.
The names of the files of each format are in `survey/checkpoints/tokenizer_files.py`. What decides which ids
the tokens have: tokenizer.json, else the class of tokenizer that the files state, else the model's type.
"""

from __future__ import annotations

from dataclasses import replace

from survey.vocabulary.added_tokens import with_added
from survey.vocabulary.byte_ranks import from_tekken, from_tiktoken, is_tiktoken
from survey.vocabulary.companions import Companions, read_companions
from survey.vocabulary.entries import MAX_IDS, BadVocabulary, TokenizerFiles, Vocabulary, json_object
from survey.vocabulary.piece_layouts import piece_layout, reads_pieces
from survey.vocabulary.rwkv import from_rwkv, is_rwkv
from survey.vocabulary.sentencepiece_library import from_sentencepiece
from survey.vocabulary.tokenizers_library import from_tokenizer_json
from survey.vocabulary.vocab_files import from_vocab_json, from_vocab_txt


def parse_vocabulary(files: TokenizerFiles) -> Vocabulary:
    """The vocabulary of a tokenizer, with the tokens that were added to it. Raises BadVocabulary.

    Hostile files can make a library use any memory and time; `survey.vocabulary.isolation` limits both.
    """
    companions = read_companions(files.contents)
    base = _parse(files, companions)
    if not base.entries:
        raise BadVocabulary("holds no tokens")
    vocabulary = with_added(base, companions, files.main)
    if vocabulary.size > MAX_IDS:
        raise BadVocabulary(f"holds the token id {vocabulary.size - 1}, expected at most {MAX_IDS - 1}")
    if companions.malformed:
        remark = f"{', '.join(companions.malformed)}: no JSON object, and not read"
        # Added tokens may stand in what was not read.
        return replace(vocabulary, complete=False, remarks=(*vocabulary.remarks, remark))
    return vocabulary


def _parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    main, content = files.main, files.contents[files.main]
    if main == "tokenizer.json":
        return from_tokenizer_json(content)
    if main == "tekken.json":
        return from_tekken(json_object(content))
    if main.endswith(".tiktoken") or (main.endswith(".model") and is_tiktoken(content)):
        return from_tiktoken(content)
    if main.startswith("rwkv") or (main.endswith(".txt") and is_rwkv(content)):
        return from_rwkv(content, companions.setting("eos_token", "<|endoftext|>"))
    return _by_class(files, companions)


def _by_class(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The vocabulary of a file whose class of tokenizer decides what it means."""
    main, content = files.main, files.contents[files.main]
    if main == "vocab.txt":
        return from_vocab_txt(content, companions)
    if main == "vocab.json":
        model = files.contents.get("sentencepiece.bpe.model")
        if model is None or not reads_pieces(companions):
            return from_vocab_json(content, files.contents, companions)
        main, content = "sentencepiece.bpe.model", model  # of a class that reads it alone
    return from_sentencepiece(content, lambda pieces: piece_layout(main, pieces, companions))
