"""The files of a checkpoint folder, also of one that is the root of the Hub's cache."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from pathlib import Path

from survey.checkpoints.checkpoint import INDEX_CAP_BYTES
from survey.checkpoints.folder_weights import CONFIG, is_of_devices
from survey.checkpoints.weight_index import folders_of_shards, is_below
from survey.errors import NotThere, storable
from survey.process.bounded_file import read_at

COMMIT_CHARS = 40


def snapshot(folder: Path) -> Path:
    """The folder of the files: in the Hub's cache (`models--org--name`), the commit that `main` stands for.

    Raises NotThere (`no-config`) if the cache holds several commits and none is `main`.
    """
    snapshots = folder / "snapshots"
    if not snapshots.is_dir() or not (folder / "refs").is_dir() or (folder / CONFIG).exists():
        return folder
    commits = sorted(path.name for path in snapshots.iterdir() if path.is_dir())
    main = folder / "refs" / "main"
    commit = read_at(main, 0, COMMIT_CHARS + 1).decode(errors="replace").strip() if main.is_file() else None
    if commit is None and len(commits) == 1:
        commit = commits[0]
    if commit not in commits:
        stated = commit if re.fullmatch("[0-9a-f]*", commit or "") else "which is no commit"
        problem = f"is a cache of the Hub, and main ({stated}) is not in it" if commit else "has no main"
        shown = ", ".join(commits[:8]) or "none"
        remedy = f"name one of its folders snapshots/COMMIT; commits there: {shown}"
        raise NotThere("no-config", str(folder), problem, remedy)
    return snapshots / commit


def file_sizes(folder: Path, part: str | None) -> dict[str, int]:
    """The size in bytes of each file, by name: of the folder, and of its part.

    If the folder holds no weights itself, or the part does not exist: also of the files in its inner folders,
    which the user could name instead. Of an index: also of the files in the folders that it names.

    Symbolic links are followed, as the Hub's own cache consists of them (see `folder_links` for texts).
    Names that are not UTF-8 are left out; neither an index nor the catalog can hold them.
    """
    files = _sizes_without_shards(folder, part)
    left_bytes = 2 * INDEX_CAP_BYTES  # of all indexes; a hostile folder holds thousands of zeros alone
    for index in [file for file in files if file.endswith(".index.json")]:
        if files[index] > min(left_bytes, INDEX_CAP_BYTES):
            continue
        left_bytes -= files[index]
        above = index[: index.rfind("/") + 1]
        with contextlib.suppress(OSError):  # whoever needs the index reports it
            named = {
                above + inner for inner in folders_of_shards(read_at(folder / index, 0, INDEX_CAP_BYTES))
            }
            files = {file: size for file, size in files.items() if not _lies_in(file, named)}
            for inner in sorted(named):  # there may be hundreds of thousands
                files.update(_in_real_folder(folder, inner))
    return files


def _lies_in(file: str, folders: Collection[str]) -> bool:
    return any(file[: slash.start()] in folders for slash in re.finditer("/", file))


def _in_real_folder(folder: Path, inner: str) -> dict[str, int]:
    """The size of each file in an inner folder, unless a link leads there: it may lead out of the folder."""
    steps = [folder / inner, *(folder / inner).parents]
    if not (folder / inner).is_dir() or any(step.is_symlink() for step in steps[: inner.count("/") + 1]):
        return {}
    files = (path for path in _named(folder / inner) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _sizes_without_shards(folder: Path, part: str | None) -> dict[str, int]:
    files = {path.name: path.stat().st_size for path in _named(folder) if path.is_file()}
    if part is not None and is_below(part) and (folder / part).exists():
        return files | _of_part(folder, part)
    if part is None and any(name.endswith((".safetensors", ".bin")) or is_of_devices(name) for name in files):
        return files
    inner = [path for path in _named(folder) if path.is_dir() and not path.name.startswith(".")]
    for path in (path for folder_in in inner for path in _named(folder_in) if path.is_file()):
        files[path.relative_to(folder).as_posix()] = path.stat().st_size
    return files


def _of_part(folder: Path, part: str) -> dict[str, int]:
    """The size of each file in the folder `part`, and in the folders on the path to it."""
    steps = part.split("/")
    inside = [folder.joinpath(*steps[: count + 1]) for count in range(len(steps))]
    files = [path for step in inside if step.is_dir() for path in _named(step) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _named(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if storable(path.name) == path.name)
