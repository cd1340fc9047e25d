"""Read a checkpoint's tokenizer files, within size caps."""

from __future__ import annotations

from functools import partial

from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.gguf_files import SUFFIX as GGUF
from survey.checkpoints.tokenizer_files import TOKENIZER_CAP_BYTES, FileSizes
from survey.formats.gguf_tokens import vocabulary_of
from survey.vocabulary.entries import BadVocabulary, TokenizerFiles

COMPANION_CAP_BYTES = 16 << 20


def read_tokenizer(checkpoint: Checkpoint, files: FileSizes) -> TokenizerFiles:
    """The contents of a tokenizer's files. files: from `tokenizer_files`, not empty.

    Raises BadVocabulary if one is too large, SurveyError if a file cannot be read.
    """
    main = next(iter(files))
    if main.endswith(GGUF):
        return _in_weights(checkpoint, main, files[main])
    caps = {name: TOKENIZER_CAP_BYTES if name == main else COMPANION_CAP_BYTES for name in files}
    for name, size in files.items():
        if size > caps[name]:
            of = "" if name == main else f"{name} beside it "
            raise BadVocabulary(f"{of}has {size:,} bytes, our cap is {caps[name]:,}")
    contents = {name.rpartition("/")[2]: checkpoint.read_file(name, caps[name]) for name in files}
    return TokenizerFiles(main.rpartition("/")[2], contents)


def _in_weights(checkpoint: Checkpoint, file: str, size: int) -> TokenizerFiles:
    """The vocabulary of a file of llama.cpp, without the rest of its header."""
    vocabulary = vocabulary_of(partial(checkpoint.read_range, file), size, f"{checkpoint.repo}/{file}")
    if vocabulary is None:
        raise BadVocabulary("holds no tokens")
    name = file.rpartition("/")[2]
    return TokenizerFiles(name, {name: vocabulary})
