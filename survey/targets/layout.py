"""A checkpoint's config, and the file and the bytes of each of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from survey.checkpoints.checkpoint import CONFIG_CAP_BYTES, Checkpoint, read_json
from survey.checkpoints.index_claims import checked_index, tensors_of, with_noted_names
from survey.checkpoints.loose_files import refuse_several
from survey.checkpoints.weight_files import ADAPTER_CONFIG, Weights, find_weights
from survey.checkpoints.weight_index import read_weight_map
from survey.errors import BrokenFile, NotThere, storable
from survey.formats.safetensors_header import Header, Outline, read_header
from survey.formats.torch_file import read_pickled
from survey.records.target import TensorSpec
from survey.sharding.cut_layout import (
    ReadParts,
    numbered_parts,
    parts_of_devices,
    refuse_gap,
    size_of_devices,
    stated_size,
)
from survey.sharding.distributed import distributed_parts
from survey.sharding.joining import MatrixSize, TensorPart, join_parts
from survey.unembedding.tensor_names import TensorNames

TEXT_CHARS = 1_000  # of a model type, a class or a base model; a longer one is ignored


@dataclass(frozen=True)
class CheckpointLayout:
    """A checkpoint's config, and the file of each tensor: from the index or the files' own headers.

    headers: those read so far. rule: how the files were chosen. adapter_of: of an adapter, the model that it
    changes (empty if it names none). duplicates: tensor -> a second file that holds it, too, if no index
    decides between them. other_files: files beside the weights that hold none of the tensors. parts_of:
    tensors that are stored in parts, by the name of the whole. size: of a vocabulary matrix, as far as it is
    stated; sizes: of tensors whose own size the files state. left_out: number of further tensors, of kinds
    that have thousands. by_index: whether an index decided, and few headers were read.
    """

    checkpoint: Checkpoint
    config: Mapping[str, Any]
    file_of: Mapping[str, str]
    headers: dict[str, Header]
    rule: str = ""
    adapter_of: str | None = None
    duplicates: Mapping[str, str] = field(default_factory=dict)
    other_files: tuple[str, ...] = ()
    parts_of: Mapping[str, ReadParts] = field(default_factory=dict)
    size: MatrixSize = MatrixSize()
    sizes: Mapping[str, MatrixSize] = field(default_factory=dict)
    left_out: int = 0
    by_index: bool = False

    @property
    def repo(self) -> str:
        """The checkpoint's name, as messages give it."""
        return self.checkpoint.repo

    @cached_property
    def names(self) -> TensorNames:
        """The roles of the tensors in a language model, by their names."""
        return TensorNames(
            self.file_of.keys(), self.config, self.outline_of, self.other_files, self.known_spec
        )

    def known_spec(self, tensor: str) -> TensorSpec | None:
        """A tensor as its file's header describes it; None if that was not read or has no such tensor."""
        if tensor in self.parts_of:
            try:
                return self._joined(tensor, "")
            except (NotThere, BrokenFile):  # an incomplete tensor has no shape
                return None
        header = self.headers.get(self.file_of.get(tensor, ""))
        return header.tensors.get(tensor) if header else None

    def outline_of(self, tensor: str) -> Outline | None:
        """A tensor's dtype and shape without its bytes, which may cost a request; None as in `known_spec`."""
        if tensor in self.parts_of:
            return self.known_spec(tensor)
        header = self.headers.get(self.file_of.get(tensor, ""))
        return header.outline(tensor) if header else None

    def spec_of(self, tensor: str) -> TensorSpec:
        """A tensor as its file's own header describes it; reads the header if that was not read before.

        Raises BrokenFile (`index-mismatch`), and NotThere (`split-head`) for a tensor in parts.
        """
        if tensor in self.parts_of:
            return self._joined(tensor, self.repo)
        where = f"{self.repo}/{self.existing_file_of(tensor)}"
        self.read_header(self.file_of[tensor])
        if tensor in self.duplicates:
            problem = f"holds {tensor}, as {self.duplicates[tensor]} does, and no index says which counts"
            raise BrokenFile("index-mismatch", where, problem)
        spec = self.known_spec(tensor)
        if spec is None:
            raise BrokenFile("index-mismatch", where, f"holds no {tensor}, though the index says so")
        return spec

    def existing_file_of(self, tensor: str) -> str:
        """The file that holds a tensor. Raises BrokenFile (`index-mismatch`) if it does not exist."""
        file = self.file_of[tensor]
        if file not in self.checkpoint.files:
            where = f"{self.repo}/{file}"
            raise BrokenFile("index-mismatch", where, f"the index names this file for {tensor}")
        return file

    def read_header(self, file: str) -> Header:
        """The header of a file, read once. Raises BrokenFile."""
        if file not in self.headers:
            self.headers[file] = _header(self.checkpoint, file)
        return self.headers[file]

    def _joined(self, tensor: str, where: str) -> TensorSpec:
        return join_parts(tensor, self.parts_of[tensor](), self.sizes.get(tensor, self.size), where)


def lay_out(checkpoint: Checkpoint) -> CheckpointLayout:
    """Read the config, and the index or the headers. Raises SurveyError if one is missing or broken."""
    weights = find_weights(checkpoint.files.keys(), checkpoint.repo, checkpoint.part)
    config = read_json(checkpoint, weights.config, CONFIG_CAP_BYTES, "no-config")
    adapter_of = _adapter_of(checkpoint, weights.folder) if weights.is_adapter else None
    if weights.config.endswith(ADAPTER_CONFIG):
        config = {}
    if weights.is_distributed:
        file_of, parts_of, sizes = distributed_parts(checkpoint, weights.folder)
        layout = CheckpointLayout(
            checkpoint, config, file_of, {}, weights.rule, parts_of=parts_of, sizes=sizes
        )
    elif weights.index is not None:
        layout = _from_index(checkpoint, config, weights, weights.index)
    else:
        layout = _from_headers(checkpoint, config, weights, adapter_of)
    return layout if layout.parts_of else _with_numbered_parts(layout)


def _from_index(
    checkpoint: Checkpoint, config: Mapping[str, Any], weights: Weights, file: str
) -> CheckpointLayout:
    index = read_weight_map(checkpoint, file, weights.folder)
    headers: dict[str, Header] = {}
    read = partial(_header, checkpoint)
    file_of = checked_index(index.file_of, config, checkpoint.files, headers, read, checkpoint.repo)
    layout = CheckpointLayout(checkpoint, config, file_of, headers, weights.rule, by_index=True)
    return replace(layout, other_files=_other_files(checkpoint, file_of), left_out=index.left_out)


def _from_headers(
    checkpoint: Checkpoint, config: Mapping[str, Any], weights: Weights, adapter_of: str | None
) -> CheckpointLayout:
    files = weights.shards or (weights.single,)
    headers = {file: _header(checkpoint, file) for file in files if file is not None}
    if weights.loose:
        refuse_several(headers, config, checkpoint.repo)
    if weights.by_devices:
        first_file, parts_of = parts_of_devices(headers, checkpoint.repo)
        size = size_of_devices(stated_size(config), parts_of)
        return CheckpointLayout(
            checkpoint, config, first_file, headers, weights.rule, parts_of=parts_of, size=size
        )
    file_of, duplicates = tensors_of(headers)
    layout = CheckpointLayout(checkpoint, config, file_of, headers, weights.rule, adapter_of, duplicates)
    left_out = sum(header.left_out for header in headers.values())
    return replace(layout, other_files=_other_files(checkpoint, file_of), left_out=left_out)


def _with_numbered_parts(layout: CheckpointLayout) -> CheckpointLayout:
    """The layout in which tensors such as `lm_head.weight.0`, `lm_head.weight.1` are one in parts."""
    size = stated_size(layout.config)
    numbered = numbered_parts(layout.file_of, size, layout.spec_of)
    if not numbered:
        return layout
    whole_of = {part: whole for whole, names in numbered.items() for part in names}
    file_of = {whole_of.get(name, name): file for name, file in layout.file_of.items()}
    parts_of = {whole: partial(_named_parts, layout, names) for whole, names in numbered.items()}
    return replace(layout, file_of=file_of, parts_of=parts_of, size=size)


def _named_parts(layout: CheckpointLayout, names: Sequence[str]) -> tuple[TensorPart, ...]:
    refuse_gap(names, layout.repo)
    return tuple(TensorPart(layout.spec_of(name)) for name in names)


def _header(checkpoint: Checkpoint, file: str) -> Header:
    read = read_header if file.endswith(".safetensors") else read_pickled
    where = f"{checkpoint.repo}/{file}"
    return with_noted_names(read(partial(checkpoint.read_range, file), file, checkpoint.files[file], where))


def _other_files(checkpoint: Checkpoint, file_of: Mapping[str, str]) -> tuple[str, ...]:
    """Files in the folders of the weights that hold none of the tensors."""
    weights = set(file_of.values())
    folders = {file.rpartition("/")[0] for file in weights}
    beside = (file for file in checkpoint.files if file.rpartition("/")[0] in folders)
    return tuple(file for file in beside if file not in weights)


def _adapter_of(checkpoint: Checkpoint, folder: str) -> str:
    """The model that an adapter changes; empty if its config names none."""
    file = folder + ADAPTER_CONFIG
    if file not in checkpoint.files:
        return ""
    stated = read_json(checkpoint, file, CONFIG_CAP_BYTES, "no-config").get("base_model_name_or_path")
    return short_text(stated) or ""


def short_text(value: Any) -> str | None:  # Any: a value of somebody's JSON
    """A text that the catalog can hold; None for any other value, and for a text that is too long."""
    return storable(value) if isinstance(value, str) and len(value) <= TEXT_CHARS else None
