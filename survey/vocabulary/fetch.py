"""Read a checkpoint's tokenizer files, within size caps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.gguf_files import SUFFIX as GGUF
from survey.checkpoints.tokenizer_files import COMPANIONS, TOKENIZER_CAP_BYTES, FileSizes
from survey.formats.gguf_tokens import vocabulary_of
from survey.vocabulary.cut_rules import CUT_RULES
from survey.vocabulary.entries import BadVocabulary, TokenizerFiles
from survey.vocabulary.table_key import key_of

COMPANION_CAP_BYTES = 16 << 20
_SHA256 = " sha256:"  # in the content id of a file that the Hub states


def read_companion_files(checkpoint: Checkpoint, files: FileSizes) -> dict[str, bytes]:
    """The contents of the small files beside a tokenizer's vocabulary, by name without folders.

    files: from `tokenizer_files`, not empty. Raises BadVocabulary if one of all the files is too large,
    SurveyError if one cannot be read.
    """
    if _is_in_weights(files):
        return {}
    for name, size in files.items():
        cap_bytes = _cap_bytes(name, files)
        if size > cap_bytes:
            of = "" if name == _main(files) else f"{name} beside it "
            raise BadVocabulary(f"{of}has {size:,} bytes, our cap is {cap_bytes:,}")
    return {
        _base(name): checkpoint.read_file(name, COMPANION_CAP_BYTES)
        for name in files
        if _base(name) in COMPANIONS
    }


def listed_key(checkpoint: Checkpoint, files: FileSizes, companions: Mapping[str, bytes]) -> str | None:
    """The key of a tokenizer's table by what the Hub states of its large files; None if it states too little.

    It serves to find a table, never to keep one: a table is kept by what was read.
    """
    if _is_in_weights(files):  # what is stated is of the weights, too
        return None
    digests: dict[str, str] = {}
    for name in files:
        if _base(name) not in companions:
            _, stated, digest = (checkpoint.content_id(name) or "").rpartition(_SHA256)
            if not stated:
                return None
            digests[_base(name)] = digest
    return key_of(_base(_main(files)), companions, digests)


def read_tokenizer(
    checkpoint: Checkpoint, files: FileSizes, companions: Mapping[str, bytes] | None = None
) -> TokenizerFiles:
    """The contents of a tokenizer's files. companions: those that were read already. Raises as above."""
    if _is_in_weights(files):
        return _in_weights(checkpoint, _main(files), files[_main(files)])
    contents = dict(read_companion_files(checkpoint, files) if companions is None else companions)
    for name in files:
        if _base(name) not in contents:
            contents[_base(name)] = checkpoint.read_file(name, _cap_bytes(name, files))
    return TokenizerFiles(_base(_main(files)), contents)


def _main(files: FileSizes) -> str:
    return next(iter(files))


def _cap_bytes(name: str, files: FileSizes) -> int:
    return TOKENIZER_CAP_BYTES if name == _main(files) else COMPANION_CAP_BYTES


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _in_weights(checkpoint: Checkpoint, file: str, size: int) -> TokenizerFiles:
    """The vocabulary of a file of llama.cpp, without the rest of its header."""
    where = f"{checkpoint.repo}/{file}"
    vocabulary = vocabulary_of(partial(checkpoint.read_range, file), size, where, CUT_RULES.__contains__)
    if vocabulary is None:
        raise BadVocabulary("holds no tokens")
    name = f"vocabulary{GGUF}"  # the file's own is that of a model and a quantisation
    return TokenizerFiles(name, {name: vocabulary})


def _is_in_weights(files: FileSizes) -> bool:
    return _main(files).endswith(GGUF)
