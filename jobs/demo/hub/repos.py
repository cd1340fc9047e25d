"""The local Hub's repositories: commits, branches, tags, and the identity of each file."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jobs.demo.hub.replies import Source, Span, source_bytes

_LARGE_SUFFIXES = (".safetensors", ".bin", ".gguf")
_END_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Commit:
    """A snapshot: every file by its path. A Path is streamed from disk, and must not change."""

    sha: str
    files: Mapping[str, Source]


@dataclass
class Repo:
    """A model repository as its owner sees it; the first branch is the default one."""

    id: str
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    disabled: bool = False
    downloads: int = 0
    likes: int = 0
    pipeline_tag: str | None = None
    library_name: str | None = None
    model_tags: tuple[str, ...] = ()
    card_data: dict[str, Any] = field(default_factory=dict)  # Any: a model card holds what its author likes
    last_modified: str = "2025-01-01T00:00:00.000Z"

    def default_commit(self) -> Commit:
        return self.commits[next(iter(self.branches.values()))]

    def commit_at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a full sha names."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a commit with the identities that git and Git LFS would give it.

    sha256: equal only for equal bytes; see `_stated_sha256`. digest: what the commit is named by.
    """

    path: str
    source: Source
    size: int
    sha256: str
    digest: str
    blob_id: str
    pointer_bytes: int | None  # size of the LFS pointer; None for a file kept in git itself

    @property
    def etag(self) -> str:
        return f'"{self.blob_id if self.pointer_bytes is None else self.sha256}"'


def stored_file(path: str, source: Source, large_file_bytes: int) -> StoredFile:
    """Identify a file; it is large (LFS) by its size or by its suffix."""
    size, digest = source_bytes(source), _content_sha256(source)
    sha256 = _stated_sha256(source, digest)
    if size < large_file_bytes and not path.endswith(_LARGE_SUFFIXES):
        return StoredFile(path, source, size, sha256, digest, _blob_id(Span(source, 0, size).read()), None)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return StoredFile(path, source, size, sha256, digest, _blob_id(pointer), len(pointer))


def commit_sha(repo_id: str, parent: str, files: Iterable[StoredFile]) -> str:
    """A name for a commit that depends on its parent and its contents alone."""
    content = [[file.path, file.size, file.digest] for file in files]
    return hashlib.sha1(json.dumps([repo_id, parent, sorted(content)]).encode()).hexdigest()


def folder_files(folder: Path) -> dict[str, Source]:
    """All files below a folder by their paths relative to it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _content_sha256(source: Source) -> str:
    """The SHA-256 of a file; of its size, time and ends if it is large, as the true one takes too long."""
    if _is_read_whole(source):
        size = source_bytes(source)
        return hashlib.sha256(Span(source, 0, size).read()).hexdigest()
    assert isinstance(source, Path)
    size = source_bytes(source)
    ends = Span(source, 0, _END_BYTES).read() + Span(source, size - _END_BYTES, size).read()
    return hashlib.sha256(b"%d %d " % (size, source.stat().st_mtime_ns) + ends).hexdigest()


def _stated_sha256(source: Source, digest: str) -> str:
    """The SHA-256 that the Hub states: of a file that was not read whole, one that no other file has."""
    if _is_read_whole(source):
        return digest
    return hashlib.sha256(f"{digest} {source!s}".encode()).hexdigest()


def _is_read_whole(source: Source) -> bool:
    return isinstance(source, bytes) or source_bytes(source) <= 2 * _END_BYTES
