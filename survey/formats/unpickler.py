"""Pickled state dicts, read as descriptions of tensors and nothing else.

The few names in REBUILD, STORAGES, DTYPES and PARAMETERS stand for descriptions of tensors; any other name
refuses the file. No code from the file is run (see `survey.formats.pickle_machine`).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from survey.errors import BrokenFile
from survey.formats.pickle_machine import SHOWN_NAME_CHARS, Name, PickleMachine
from survey.formats.torch_tensor import DTYPES, STORAGES, PickledTensor, Storage

DIMENSIONS_CAP = 64
PARAMETERS = ("torch Tensor", "torch.nn.parameter Parameter")
FROM_TYPE = "torch._tensor _rebuild_from_type_v2"


def read_pickle(stream: BytesIO, where: str) -> Any:  # Any: texts, numbers, dicts, descriptions
    """The value of the next pickle in the stream; leaves the stream after the pickle.

    Raises BrokenFile (`bad-pickle`): Cut if the bytes end too early.
    """
    return TensorMachine(where).run(stream)


def state_dict(value: Any, where: str) -> dict[str, PickledTensor]:  # Any: as read_pickle gives it
    """The tensors of a state dict by name, without its other entries.

    Raises BrokenFile (`bad-pickle`) if the value is no state dict.
    """
    if type(value) is not dict:
        raise BrokenFile("bad-pickle", where, f"holds a {type(value).__name__}, expected tensors by name")
    tensors = {
        name: entry for name, entry in value.items() if type(name) is str and type(entry) is PickledTensor
    }
    if value and not tensors:
        inner = next((key for key, entry in value.items() if type(entry) is dict and entry), None)
        if inner is not None:
            problem = f"holds its tensors, if any, one level down in {str(inner)[:SHOWN_NAME_CHARS]}"
            raise BrokenFile("bad-pickle", where, f"{problem}: a training checkpoint, not a state dict")
        keys = ", ".join(str(key)[:SHOWN_NAME_CHARS] for key in list(value)[:3])
        raise BrokenFile("bad-pickle", where, f"holds no tensors but {keys}, …; expected a state dict")
    return tensors


class TensorMachine(PickleMachine):
    """The pickle machine for state dicts: it builds descriptions of tensors."""

    def name(self, name: str) -> None:
        if name in REBUILD or name in STORAGES or name in DTYPES or name in PARAMETERS:
            self.stack.append(Name(name))
        else:
            super().name(name)

    def persistent(self) -> None:
        """Push a storage: `('storage', type, key, location, elements)`, with a view in files before 1.6."""
        saved = self.stack.pop()
        if type(saved) is not tuple or len(saved) not in (5, 6) or saved[0] != "storage":
            raise self.refuse("refers to something outside that is no storage")
        _, kind, key, _, elements = saved[:5]
        if len(saved) == 6 and saved[5] is not None:
            raise self.refuse("has a storage that is a view of another one")
        if type(kind) is not Name or kind.name not in STORAGES:
            raise self.refuse("has a storage of no known type")
        if type(key) is not str or type(elements) is not int or elements < 0:
            raise self.refuse("has a storage without a key or a size")
        self.stack.append(Storage(key, STORAGES[kind.name], elements))

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name not in REBUILD:
            return super().call(name, arguments)
        least, most, build = REBUILD[name]
        if not least <= len(arguments) <= most:
            raise self.refuse(f"gives {name.replace(' ', '.')} {len(arguments)} arguments")
        return build(self, *arguments)

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> PickledTensor:
        """`_rebuild_tensor…`. rest: requires_grad, hooks, in version 3 the dtype, marks (`neg`)."""
        if type(storage) is not Storage:
            raise self.refuse("has a tensor without a storage")
        dtype, marks = storage.dtype, rest[2:]
        if marks and type(marks[0]) is Name:
            dtype, marks = DTYPES.get(marks[0].name), marks[1:]
        if any(marks) and not (type(marks[0]) is dict and not any(marks[0].values())):
            raise self.refuse(
                "has a tensor that torch marks: its values are others than those that are stored"
            )
        if dtype is None:
            raise self.refuse("has a tensor without a dtype")
        numbers = (
            type(shape) is tuple
            and type(strides) is tuple
            and len(shape) == len(strides) <= DIMENSIONS_CAP
            and all(type(number) is int and number >= 0 for number in (offset, *shape, *strides))
        )
        if not numbers:
            raise self.refuse("has a tensor whose offset, shape or strides are not those of a tensor")
        return PickledTensor(storage, dtype, offset, shape, strides)

    def parameter(self, tensor: Any, *_: Any) -> PickledTensor:
        if type(tensor) is not PickledTensor:
            raise self.refuse("has a parameter that is no tensor")
        return tensor

    def of_type(self, function: Any, kind: Any, arguments: Any, _: Any) -> Any:
        """`_rebuild_from_type_v2`: a tensor with attributes, which are dropped."""
        if type(function) is not Name or type(kind) is not Name or type(arguments) is not tuple:
            raise self.refuse("has a tensor of no known type")
        if kind.name not in PARAMETERS or function.name == FROM_TYPE:
            raise self.refuse(f"has a tensor of type {kind.name.replace(' ', '.')}")
        return self.call(function.name, arguments)

    def size(self, shape: Any) -> tuple[Any, ...]:
        if type(shape) is not tuple:
            raise self.refuse("has a torch.Size of something else than numbers")
        return shape


# name -> least and most arguments, and what describes the result
REBUILD: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "torch._utils _rebuild_tensor": (4, 4, TensorMachine.tensor),
    "torch._utils _rebuild_tensor_v2": (6, 7, TensorMachine.tensor),
    "torch._utils _rebuild_tensor_v3": (7, 8, TensorMachine.tensor),
    "torch._utils _rebuild_parameter": (3, 3, TensorMachine.parameter),
    "torch._utils _rebuild_parameter_with_state": (4, 4, TensorMachine.parameter),
    FROM_TYPE: (4, 4, TensorMachine.of_type),
    "torch Size": (1, 1, TensorMachine.size),
}
