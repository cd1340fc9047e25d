"""Read a checkpoint's tokenizer files, within size caps."""

from __future__ import annotations

from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.tokenizer_files import TOKENIZER_CAP_BYTES, FileSizes
from survey.vocabulary.entries import BadVocabulary, TokenizerFiles

COMPANION_CAP_BYTES = 16 << 20


def read_tokenizer(checkpoint: Checkpoint, files: FileSizes) -> TokenizerFiles:
    """The contents of a tokenizer's files. files: from `tokenizer_files`, not empty.

    Raises BadVocabulary if the main file is too large, SurveyError if a file cannot be read.
    """
    main, size = next(iter(files.items()))
    if size > TOKENIZER_CAP_BYTES:
        raise BadVocabulary(f"has {size:,} bytes, our cap is {TOKENIZER_CAP_BYTES:,}")
    caps = {name: TOKENIZER_CAP_BYTES if name == main else COMPANION_CAP_BYTES for name in files}
    contents = {
        name.rpartition("/")[2]: checkpoint.read_file(name, caps[name])
        for name, size in files.items()
        if size <= caps[name]
    }
    return TokenizerFiles(main.rpartition("/")[2], contents)
