"""Parse a tokenizer's files into its vocabulary, with all tokens that its companion files add.

What decides which ids the tokens have: tokenizer.json, else the class of tokenizer that the files state, else
the model's type. The parser of each file format is a module in `formats/`.
"""

from __future__ import annotations

from dataclasses import replace

from survey.vocabulary.added_tokens import with_added
from survey.vocabulary.companions import read_companions
from survey.vocabulary.entries import MAX_IDS, BadVocabulary, TokenizerFiles, Vocabulary
from survey.vocabulary.formats import format_of


def parse_vocabulary(files: TokenizerFiles) -> Vocabulary:
    """The vocabulary of a tokenizer, with the tokens that were added to it. Raises BadVocabulary.

    Hostile files can make a library use any memory and time: `process/isolation.py` limits both.
    """
    companions = read_companions(files.contents)
    base = format_of(files).parse(files, companions)
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
