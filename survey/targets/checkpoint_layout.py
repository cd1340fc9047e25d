"""A checkpoint's config, and the file and the bytes of each of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.file_header import file_header
from survey.errors import BrokenFile, NotThere
from survey.formats.gguf_values import Values
from survey.formats.safetensors_header import Header, Outline
from survey.records.tensors import TensorSpec
from survey.sharding.cut_layout import ReadParts
from survey.sharding.joining import MatrixSize, join_parts
from survey.unembedding.gguf_tensors import BIAS
from survey.unembedding.packings import Packing, packed_spec
from survey.unembedding.quantisation import scheme
from survey.unembedding.tensor_names import TensorNames
from survey.unembedding.unread_files import ALL_READ, UnreadFiles


@dataclass(frozen=True)
class CheckpointLayout:
    """A checkpoint's config, and the file of each tensor: from the index or the files' own headers.

    headers: those read so far. rule: how the files were chosen. adapter_of: of an adapter, the model that it
    changes (empty if it names none). duplicates: tensor -> a second file that holds it, too, if no index
    decides between them. unread: files that may hold a matrix, too. parts_of:
    tensors that are stored in parts, by the name of the whole. size: of a vocabulary matrix, as far as it is
    stated; sizes: of tensors whose own size the files state. left_out: number of further tensors, of kinds
    that have thousands. by_index: whether an index decided, and few headers were read. gguf: the values
    of a file of llama.cpp, which name its parts. base_model: from which it was made, as the files state.
    packed: quantised matrices that lie in several tensors, by the name of the whole.
    """

    checkpoint: Checkpoint
    config: Mapping[str, Any]
    file_of: Mapping[str, str]
    headers: dict[str, Header]
    rule: str = ""
    adapter_of: str | None = None
    duplicates: Mapping[str, str] = field(default_factory=dict)
    unread: UnreadFiles = ALL_READ
    parts_of: Mapping[str, ReadParts] = field(default_factory=dict)
    size: MatrixSize = MatrixSize()
    sizes: Mapping[str, MatrixSize] = field(default_factory=dict)
    left_out: int = 0
    by_index: bool = False
    gguf: Values | None = None
    base_model: str | None = None
    packed: Mapping[str, Packing] = field(default_factory=dict)

    @property
    def repo(self) -> str:
        """The checkpoint's name, as messages give it."""
        return self.checkpoint.repo

    @cached_property
    def names(self) -> TensorNames:
        """The roles of the tensors in a language model, by their names."""
        named = self.file_of.keys()
        if self.packed:  # factors are parts of their matrices
            factors = {name for packing in self.packed.values() for name in packing.all}
            wholes = self.packed.keys()
            named = dict.fromkeys(name for name in named if name not in factors or name in wholes).keys()
        return TensorNames(named, self.config, self.outline_of, self.unread, self.known_spec)

    @property
    def head_bias(self) -> bool:
        """Whether the files hold a bias beside the unembedding."""
        return BIAS in self.file_of if self.gguf is not None else self.names.head_bias

    def known_spec(self, tensor: str) -> TensorSpec | None:
        """A tensor as its file's header describes it; None if that was not read or has no such tensor."""
        try:
            if tensor in self.parts_of:
                return self._joined(tensor, "")
            if tensor in self.packed:
                return self._packed(tensor, self.known_part)
        except (NotThere, BrokenFile):  # an incomplete tensor has no shape
            return None
        return self.known_part(tensor)

    def known_part(self, tensor: str) -> TensorSpec | None:
        """As `known_spec`, of a tensor by its own name in a file."""
        header = self.headers.get(self.file_of.get(tensor, ""))
        return header.tensors.get(tensor) if header else None

    def outline_of(self, tensor: str) -> Outline | None:
        """A tensor's dtype and shape without its bytes, which may cost a request; None as in `known_spec`.

        Whatever compares names asks it for each, so it is here that a model's time is over (Unreachable).
        """
        self.checkpoint.refuse_late()
        if tensor in self.parts_of or tensor in self.packed:
            return self.known_spec(tensor)
        header = self.headers.get(self.file_of.get(tensor, ""))
        return header.outline(tensor) if header else None

    def spec_of(self, tensor: str) -> TensorSpec:
        """A tensor as its file's own header describes it; reads the header if that was not read before.

        Raises BrokenFile (`index-mismatch`), and NotThere (`split-head`) for a tensor in parts.
        """
        if tensor in self.parts_of:
            return self._joined(tensor, self.repo)
        if tensor in self.packed:
            spec = self._packed(tensor, self._part)
            assert spec is not None
            return spec
        return self._part(tensor)

    def _part(self, tensor: str) -> TensorSpec:
        """As `spec_of`, of a tensor by its own name in a file."""
        where = f"{self.repo}/{self.existing_file_of(tensor)}"
        self.read_header(self.file_of[tensor])
        if tensor in self.duplicates:
            problem = f"holds {tensor}, as {self.duplicates[tensor]} does, and no index says which counts"
            raise BrokenFile("index-mismatch", where, problem)
        spec = self.known_part(tensor)
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
            self.headers[file] = file_header(self.checkpoint, file)
        return self.headers[file]

    def _packed(self, tensor: str, read: Callable[[str], TensorSpec | None]) -> TensorSpec | None:
        """The matrix of a packing; None if `read` does not know all of its tensors."""
        packing = self.packed[tensor]
        parts = [read(name) for name in packing.names]
        where = f"{self.repo}/{self.file_of[packing.names[0]]}"
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return packed_spec(packing, known, scheme(self.config, self.file_of, tensor), where)

    def _joined(self, tensor: str, where: str) -> TensorSpec:
        return join_parts(tensor, self.parts_of[tensor](), self.sizes.get(tensor, self.size), where)
