"""Which files of a repository hold a checkpoint: its config, and its weights exactly once.

Repositories often hold copies (consolidated and sharded, pickled and not), of which one is read. If the root
holds no weights, the only folder that does is taken for the model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from survey.checkpoints.folder_weights import (
    ADAPTER_CONFIG,
    ADAPTERS,
    CONFIG,
    CONSOLIDATED,
    DISTRIBUTED,
    INDEX,
    MISTRAL_CONFIG,
    MOST_BESIDE,
    OTHER_FILES,
    PICKLED_SINGLE,
    SINGLE,
    is_of_devices,
    loose_weights,
    weights_in_folder,
)
from survey.checkpoints.foreign_formats import foreign_format
from survey.checkpoints.gguf_files import SUFFIX as GGUF_SUFFIX
from survey.checkpoints.gguf_files import GgufModel, choose_gguf, gguf_models, gguf_names, named_gguf
from survey.checkpoints.rank_files import is_of_ranks
from survey.checkpoints.shard_sets import SHARD
from survey.errors import NotThere
from survey.formats.suffixes import WEIGHT_SUFFIXES

_MOST_SHOWN = 12  # in a message


@dataclass(frozen=True, slots=True)
class Weights:
    """One copy of the weights, by the names of its files: a single file, an index, or numbered shards.

    config: the file that describes them. rule: how they were chosen. by_devices: whether a tensor may lie in
    several of the files, in parts. loose: whether only their headers can tell that they are a single model.
    gguf: files of llama.cpp, which describe themselves.
    """

    config: str
    rule: str
    single: str | None = None
    index: str | None = None
    shards: tuple[str, ...] = ()
    by_devices: bool = False
    loose: bool = False
    gguf: tuple[str, ...] = ()

    @property
    def is_adapter(self) -> bool:
        return self.single is not None and self.single.rpartition("/")[2] in ADAPTERS

    @property
    def is_distributed(self) -> bool:
        return self.index is not None and self.index.rpartition("/")[2] == DISTRIBUTED

    @property
    def folder(self) -> str:
        """The folder of the files: empty, or ending in a slash."""
        file = self.single or self.index or (*self.shards, *self.gguf)[0]
        return file[: file.rfind("/") + 1]


def find_weights(files: Collection[str], where: str, part: str | None = None) -> Weights:
    """The weights among the names of a repository's files. part: the folder or file that the user named.

    Raises NotThere: `no-config`, or `no-safetensors` with what the repository holds instead.
    """
    folders: dict[str, set[str]] = {"": set()}
    for path in files:
        folder, slash, name = path.rpartition("/")
        folders.setdefault(folder + slash, set()).add(name)
    if part is not None:
        return _named_part(part, folders, where)
    copies = {folder: copy for folder in sorted(folders) if (copy := weights_in_folder(folders[folder]))}
    # A folder without a config is no model: most likely, it is a tool's copy of the weights.
    inner = [folder for folder in copies if CONFIG in folders[folder]] or list(copies)
    if "" in copies or len(inner) == 1:
        folder = "" if "" in copies else inner[0]
        return _described(folder, *copies[folder], folders)
    loose = loose_weights(folders[""])
    if not (inner or loose) and (models := gguf_models(files)):
        return _of_gguf(choose_gguf(models, where), models)
    if not (inner or loose) and (foreign := foreign_format(files)):
        raise NotThere("no-safetensors", where, foreign)
    if not (inner or loose):
        _refuse_other_gguf(files, where)
    _refuse_without_config(folders, where)
    if inner:
        _refuse_several_folders(inner, where)
    if not loose:
        _refuse_without_weights(folders[""], where)
    return replace(_described("", "files side by side", loose, folders), loose=True)


def _refuse_other_gguf(files: Collection[str], where: str) -> None:
    """Raise NotThere (`no-safetensors`) for files that llama.cpp may read, but not as a model."""
    if of_ggml := sorted(file for file in files if file.lower().endswith(GGUF_SUFFIX)):
        problem = f"holds {of_ggml[0]}, by its name no model for llama.cpp, and no other weights"
        raise NotThere("no-safetensors", where, problem, f"name a file that ends in {GGUF_SUFFIX} by a colon")


def _refuse_without_config(folders: Mapping[str, Collection[str]], where: str) -> None:
    configs = (CONFIG, MISTRAL_CONFIG, ADAPTER_CONFIG)
    if not any(name in names for names in folders.values() for name in configs):
        raise NotThere("no-config", f"{where}/{CONFIG}", "no such file in the checkpoint")


def _refuse_several_folders(folders: list[str], where: str) -> NoReturn:
    shown = ", ".join(folder.removesuffix("/") for folder in folders[:_MOST_SHOWN])
    more = f" and {len(folders) - _MOST_SHOWN} more" if len(folders) > _MOST_SHOWN else ""
    problem = "several folders hold weights, and the root none"
    remedy = f"write the model's name, a colon and one of {shown}{more}"
    raise NotThere("no-safetensors", where, problem, remedy)


def _refuse_without_weights(names: Collection[str], where: str) -> NoReturn:
    problem = f"neither {SINGLE} nor {INDEX}, nor {PICKLED_SINGLE}"
    others = sorted(name for name in names if name.endswith(WEIGHT_SUFFIXES))
    raise NotThere("no-safetensors", where, problem + (f" (found {', '.join(others[:3])})" if others else ""))


def beside_shards(shards: Collection[str], folder: str, files: Collection[str]) -> list[str]:
    """A few files of weights beside an index or its shards that belong to no set of shards.

    folder: that of the index.
    """
    folders = {folder.removesuffix("/"), *(shard.rpartition("/")[0] for shard in shards)}
    strays = [
        file
        for file in sorted(files)
        if file.endswith(".safetensors") and file not in shards and file.rpartition("/")[0] in folders
    ]
    names = {file: file.rpartition("/")[2] for file in strays}
    copies = (CONSOLIDATED, SINGLE)
    strays = [
        file
        for file, name in names.items()
        if name not in copies and not (OTHER_FILES.match(name) or SHARD.fullmatch(name) or is_of_ranks(name))
    ]
    return strays[:MOST_BESIDE]


def _named_part(part: str, folders: dict[str, set[str]], where: str) -> Weights:
    """The weights in a folder or file that the user named, or in a quantisation of llama.cpp's."""
    copy = weights_in_folder(folders.get(part + "/", set()))
    files = [folder + name for folder, names in folders.items() for name in names]
    if copy is None and (model := named_gguf(files, part, where)) is not None:
        return _of_gguf(model)
    folder, slash, name = part.rpartition("/")
    if name in folders.get(folder + slash, ()):
        if not name.endswith((".safetensors", ".bin", ".pth", ".index.json")):
            raise NotThere("no-safetensors", where, "is no file of weights that is read", _nameable(folders))
        return _described(folder + slash, "the file that was named", [name], folders)
    if copy is not None:
        return _described(part + "/", *copy, folders)
    if any(inner.startswith(part + "/") for inner in folders):
        problem = "this folder holds no weights itself"
    else:
        problem = "there is no such folder or file"
        problem += ", and a revision stands before the colon" if "@" in part else ""
    raise NotThere("no-safetensors", where, problem, _nameable(folders))


def _nameable(folders: Mapping[str, Collection[str]]) -> str:
    """The remedy for a part that does not exist: the names that could be given instead."""
    if shown := ", ".join(nameable_parts(folders)[:_MOST_SHOWN]):
        return f"what may be named after the colon: {shown}"
    if weights_in_folder(set(folders.get("", ()))):
        return "name the model alone, without a colon: its weights lie at its root"
    return "nothing in it can be named: it holds no weights that are read"


def nameable_parts(folders: Mapping[str, Collection[str]]) -> list[str]:
    """The parts that a user may name after a colon: folders with weights, and files of weights."""
    inner = [
        folder.removesuffix("/") for folder in sorted(folders) if weights_in_folder(set(folders[folder]))
    ]
    files = sorted(name for name in folders[""] if name.endswith((".safetensors", ".bin")))
    models = gguf_models([folder + name for folder, names in folders.items() for name in names])
    return [folder for folder in inner if folder] + files + gguf_names(models)


def _of_gguf(model: GgufModel, models: Sequence[GgufModel] = ()) -> Weights:
    """The files of one quantisation. models: those from which it was chosen."""
    rule = model.files[0]
    if len(models) > 1:
        names = [name for name, other in zip(gguf_names(models), models, strict=True) if other != model]
        others = ", ".join(names[:_MOST_SHOWN])
        others += f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        rule += f", the most precise of {len(models)} quantisations (others: {others})"
    return Weights("", rule, gguf=model.files)


def _described(folder: str, rule: str, names: list[str], folders: dict[str, set[str]]) -> Weights:
    """The weights with their config: the nearest of the folders from theirs up to the root."""
    paths = [folder + name for name in names]
    known = [CONFIG, ADAPTER_CONFIG] if names[0] in ADAPTERS else [CONFIG, MISTRAL_CONFIG]
    steps = [folder[: cut.end()] for cut in re.finditer("/", folder)][::-1]
    configs = [step + name for step in (*steps, "") for name in known if name in folders.get(step, ())]
    config = configs[0] if configs else folder + CONFIG
    rule = f"{rule} in {folder}" if folder else rule
    if len(paths) > 1 or is_of_devices(names[0]):
        return Weights(config, rule, shards=tuple(paths), by_devices=is_of_devices(names[0]))
    if names[0].endswith((".json", DISTRIBUTED)):
        return Weights(config, rule, index=paths[0])
    return Weights(config, rule, single=paths[0])
