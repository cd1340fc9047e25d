"""Which of a checkpoint's files hold its tokenizer, and their caps."""

from __future__ import annotations

from collections.abc import Mapping

from survey.checkpoints.gguf_files import SUFFIX as GGUF
from survey.checkpoints.weight_files import find_weights
from survey.errors import NotThere

TOKENIZER_CAP_BYTES = 64 << 20  # the largest known has 34 MB (Gemma 3, with 262,145 tokens)
GGUF_VOCABULARY_BYTES = 10 << 20  # 128,256 tokens and 280,147 merges take 8 MB
MEMORY_PER_BYTE = 20  # of a parsed tokenizer.json, and of the encoded texts
NAMES_BYTES = 160 << 20  # taken by the libraries

SENTENCEPIECE = (
    "tokenizer.model", "spiece.model", "spm.model", "sentencepiece.model", "spm_char.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
# The first that exists is read. tokenizer.json first: it alone states everything about tokenisation.
# vocab.json before sentencepiece.bpe.model: M2M100 has both, and the former holds the ids.
MAIN = (
    "tokenizer.json", *SENTENCEPIECE[:-1], "vocab.json", SENTENCEPIECE[-1], "tiktoken.model", "vocab.txt",
    "tekken.json",
)  # fmt: skip
# Names of others by their beginning and their end.
PATTERNS = (("", ".tiktoken"), ("rwkv_vocab", ".txt"))
_BESIDE = {"vocab.json": ("merges.txt", "sentencepiece.bpe.model", "source.spm", "target.spm")}
_ADDED = ("tokenizer_config.json", "added_tokens.json")
# What they state of the class of tokenizer is needed only if no tokenizer.json states everything.
COMPANIONS = (*_ADDED, "special_tokens_map.json", "config.json")

FileSizes = Mapping[str, int]  # name -> size in bytes


def tokenizer_files(files: FileSizes, part: str | None = None) -> dict[str, int]:
    """The sizes of the tokenizer's files, the vocabulary first; empty if there is none.

    They lie at the root or, for a model in a folder, beside its weights. part: the folder or file that the
    user named; its own tokenizer is preferred to the root's.
    """
    if vocabulary := weights_of_gguf(files, part)[:1]:  # it holds its own
        return {name: files[name] for name in vocabulary}
    if part is not None and (beside := _in_folder(files, _folder_of_weights(files, part))):
        return beside
    return _in_folder(files, "") or _in_folder(files, _folder_of_weights(files))


def weights_of_gguf(files: FileSizes, part: str | None) -> tuple[str, ...]:
    """The files of llama.cpp that are read, in order; empty if the weights are others."""
    try:
        return find_weights(files.keys(), "", part).gguf
    except NotThere:
        return ()


def _in_folder(files: FileSizes, folder: str) -> dict[str, int]:
    names = {name.removeprefix(folder) for name in files if name.startswith(folder)}
    others = sorted(
        name
        for name in names
        for first, last in PATTERNS
        if name.startswith(first) and name.endswith(last) and "/" not in name
    )
    main = next((name for name in (*MAIN, *others[:1]) if name in names), None)
    if main is None:
        return {}
    companions = _ADDED if main == "tokenizer.json" else COMPANIONS
    candidates = (main, *_BESIDE.get(main, ()), *companions)
    return {folder + name: files[folder + name] for name in candidates if name in names}


def _folder_of_weights(files: FileSizes, part: str | None = None) -> str:
    try:
        return find_weights(files.keys(), "", part).folder
    except NotThere:
        return ""


def expected_names_bytes(files: FileSizes) -> int:
    """Upper estimate of the memory that reading the vocabulary takes; 0 if the file is too large to read.

    files: the tokenizer's, as `tokenizer_files` gives them.
    """
    size = _vocabulary_bytes(*next(iter(files.items()), ("", 0)))
    return NAMES_BYTES + MEMORY_PER_BYTE * size if 0 < size <= TOKENIZER_CAP_BYTES else 0


def _vocabulary_bytes(name: str, size: int) -> int:
    """Bytes of a file that are read for its tokens: of a file of llama.cpp, those of its vocabulary."""
    return min(size, GGUF_VOCABULARY_BYTES) if name.endswith(GGUF) else size


def names_limit_bytes(files: FileSizes) -> int:
    """The memory limit of the libraries in bytes: more than twice the need of sound files of these sizes."""
    sizes = (_vocabulary_bytes(name, size) for name, size in files.items())
    size = sum(size for size in sizes if size <= TOKENIZER_CAP_BYTES)
    return (256 << 20) + 2 * (NAMES_BYTES + MEMORY_PER_BYTE * size)
