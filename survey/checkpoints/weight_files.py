"""Which files of a repository hold a checkpoint: its config, and its weights exactly once.

Repositories often hold copies (consolidated and sharded, pickled and not), of which one is read. If the root
holds no weights, the only folder that does is taken for the model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from survey.checkpoints.foreign_formats import foreign_format
from survey.checkpoints.rank_files import is_of_ranks
from survey.checkpoints.shard_sets import MOST_SHARDS, SHARD, complete_set
from survey.errors import NotThere
from survey.formats.suffixes import WEIGHT_SUFFIXES

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_SINGLE = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
CONSOLIDATED = "consolidated.safetensors"  # Mistral's own format
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")  # PEFT
CONFIG = "config.json"
MISTRAL_CONFIG = "params.json"
DISTRIBUTED = ".metadata"  # beside *.distcp
ADAPTER_CONFIG = "adapter_config.json"

_INDEX = re.compile(r".+\.safetensors\.index(?:\.\w+)?\.json")  # model.safetensors.index.fp16.json, …
# Files that training and other tools leave beside a model.
_OTHER = re.compile(r"(?i)^(adapter|optimizer|scheduler|training|trainer|mmproj|vae|.*lora)")
_MOST_BESIDE = 8
_MOST_SHOWN = 12  # in a message


@dataclass(frozen=True, slots=True)
class Weights:
    """One copy of the weights, by the names of its files: a single file, an index, or numbered shards.

    config: the file that describes them. rule: how they were chosen. by_devices: whether a tensor may lie in
    several of the files, in parts. loose: whether only their headers can tell that they are a single model.
    """

    config: str
    rule: str
    single: str | None = None
    index: str | None = None
    shards: tuple[str, ...] = ()
    by_devices: bool = False
    loose: bool = False

    @property
    def is_adapter(self) -> bool:
        return self.single is not None and self.single.rpartition("/")[2] in ADAPTERS

    @property
    def is_distributed(self) -> bool:
        return self.index is not None and self.index.rpartition("/")[2] == DISTRIBUTED

    @property
    def folder(self) -> str:
        """The folder of the files: empty, or ending in a slash."""
        file = self.single or self.index or self.shards[0]
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
    copies = {folder: copy for folder in sorted(folders) if (copy := _in_one_folder(folders[folder]))}
    # A folder without a config is no model: most likely, it is a tool's copy of the weights.
    inner = [folder for folder in copies if CONFIG in folders[folder]] or list(copies)
    if "" in copies or len(inner) == 1:
        folder = "" if "" in copies else inner[0]
        return _described(folder, *copies[folder], folders)
    beside = _beside(folders[""])
    if not (inner or beside) and (foreign := foreign_format(files)):
        raise NotThere("no-safetensors", where, foreign)
    if not any(
        name in names for names in folders.values() for name in (CONFIG, MISTRAL_CONFIG, ADAPTER_CONFIG)
    ):
        raise NotThere("no-config", f"{where}/{CONFIG}", "no such file in the checkpoint")
    if inner:
        shown = ", ".join(folder.removesuffix("/") for folder in inner[:_MOST_SHOWN])
        more = f" and {len(inner) - _MOST_SHOWN} more" if len(inner) > _MOST_SHOWN else ""
        problem = "several folders hold weights, and the root none"
        remedy = f"write the model's name, a colon and one of {shown}{more}"
        raise NotThere("no-safetensors", where, problem, remedy)
    if beside:
        described = _described("", "files side by side", beside, folders)
        return replace(described, loose=True)
    problem = f"neither {SINGLE} nor {INDEX}, nor {PICKLED_SINGLE}"
    loose = sorted(name for name in folders[""] if name.endswith(WEIGHT_SUFFIXES))
    raise NotThere("no-safetensors", where, problem + (f" (found {', '.join(loose[:3])})" if loose else ""))


def beside_shards(shards: Collection[str], files: Collection[str]) -> list[str]:
    """A few files of weights beside an index's shards that belong to no set of shards."""
    folders = {shard.rpartition("/")[0] for shard in shards}
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
        if name not in copies and not (_OTHER.match(name) or SHARD.fullmatch(name) or is_of_ranks(name))
    ]
    return strays[:_MOST_BESIDE]


def _named_part(part: str, folders: dict[str, set[str]], where: str) -> Weights:
    """The weights in a folder or file that the user named."""
    folder, slash, name = part.rpartition("/")
    if name in folders.get(folder + slash, ()):
        if not name.endswith((".safetensors", ".bin", ".pth", ".index.json")):
            raise NotThere("no-safetensors", where, "is no file of weights that is read", _nameable(folders))
        return _described(folder + slash, "the file that was named", [name], folders)
    copy = _in_one_folder(folders.get(part + "/", set()))
    if copy is not None:
        return _described(part + "/", *copy, folders)
    if any(inner.startswith(part + "/") for inner in folders):
        problem = "this folder holds no weights itself"
    else:
        problem = "there is no such folder or file"
    raise NotThere("no-safetensors", where, problem, _nameable(folders))


def _nameable(folders: Mapping[str, Collection[str]]) -> str:
    """The remedy for a part that does not exist: the names that could be given instead."""
    if shown := ", ".join(choices(folders)[:_MOST_SHOWN]):
        return f"what may be named after the colon: {shown}"
    if _in_one_folder(set(folders.get("", ()))):
        return "name the model alone, without a colon: its weights lie at its root"
    return "nothing in it can be named: it holds no weights that are read"


def choices(folders: Mapping[str, Collection[str]]) -> list[str]:
    """The parts that a user may name after a colon: folders with weights, and files of weights."""
    inner = [folder.removesuffix("/") for folder in sorted(folders) if _in_one_folder(set(folders[folder]))]
    files = sorted(name for name in folders[""] if name.endswith((".safetensors", ".bin")))
    return [folder for folder in inner if folder] + files


def _beside(names: set[str]) -> list[str]:
    """A few files of weights; only their headers can say whether they are a single model."""
    loose = sorted(name for name in names if name.endswith(".safetensors") and not _OTHER.match(name))
    whole = [name for name in loose if not is_of_ranks(name)]
    return whole if not any("-of-" in name for name in loose) and 2 <= len(whole) <= _MOST_BESIDE else []


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


def _in_one_folder(names: set[str]) -> tuple[str, list[str]] | None:
    """The rule and the file names of a copy of the weights; the first rule that applies wins."""
    for name in (SINGLE, INDEX):
        if name in names:
            return name, [name]
    for name in sorted(names):
        if _INDEX.fullmatch(name) and not _OTHER.match(name):
            return f"the index {name}", [name]
    of_devices = sorted(name for name in names if is_of_devices(name))
    loose = sorted(name for name in names if name.endswith(".safetensors") and not _OTHER.match(name))
    loose = [name for name in loose if name not in of_devices]
    whole = [name for name in loose if not SHARD.fullmatch(name)]
    if CONSOLIDATED in whole:
        return CONSOLIDATED, [CONSOLIDATED]
    if shards := complete_set(loose):  # any file may lie beside a complete set
        return "numbered shards without an index", shards
    if of_devices and len(of_devices) <= MOST_SHARDS:
        return "files of several devices", of_devices
    if len(whole) == 1:
        return "the only file of weights", whole
    for name in (PICKLED_SINGLE, PICKLED_INDEX):
        if name in names:
            return name, [name]
    if DISTRIBUTED in names and any(name.endswith(".distcp") for name in names):
        return "torch's distributed checkpoint", [DISTRIBUTED]
    return next((("an adapter", [name]) for name in ADAPTERS if name in names), None)


def is_of_devices(name: str) -> bool:
    """Whether a file of weights holds those of one device, or those that all devices share."""
    read = name.endswith(".safetensors") or (name.startswith("consolidated.") and name.endswith(".pth"))
    return read and not _OTHER.match(name) and is_of_ranks(name)
