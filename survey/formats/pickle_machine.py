"""A stack machine for pickles that builds plain values: texts, numbers, tuples, lists, dicts.

Python's pickle machine, which calls whatever a file names, is never started. `pickletools.genops` only names
the opcodes; those in HANDLERS are given a meaning here. Any other opcode refuses the file. Nothing is
imported, called or resolved by name: what a name, a call or a reference stands for, a subclass says.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from survey.errors import BrokenFile

PICKLE_CAP_BYTES = 8 << 20  # 40,000 tensors take as much
OPCODES_CAP = 1_000_000  # 36 a tensor; each builds at most one object of some 100 bytes
INT_BITS_CAP = 63
SHOWN_NAME_CHARS = 80  # of a name from the file, in our messages
ORDERED_DICT = "collections OrderedDict"


@dataclass(frozen=True, slots=True)
class Name:
    """`module name` of an object that Python would import; nothing is imported here."""

    name: str


class Cut(BrokenFile):
    """The bytes end, or become invalid, before the pickle ends: reading further bytes may help."""


class PickleMachine:
    """Runs a single pickle. A subclass adds names that it knows, and what calls of them build.

    stack: the values since the last mark. marked: the stacks below each open mark.
    """

    keys: tuple[type, ...] = (str, int)  # of dicts

    def __init__(self, where: str) -> None:
        self.where = where
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0  # items copied from lists; a single opcode can copy a million

    def run(self, stream: BytesIO) -> Any:
        opcodes = pickletools.genops(stream)
        for count in range(OPCODES_CAP):
            try:
                opcode, argument, position = next(opcodes)
            # Also a number of thousands of digits; and of odd escapes in a text Python warns.
            except (ValueError, EOFError, DeprecationWarning) as error:
                raise Cut("bad-pickle", self.where, f"is no whole pickle: {error}") from error
            except StopIteration:
                raise self.refuse(f"ends after {count} opcodes without a value") from None
            handler = self.handler(opcode.name)
            if handler is None:
                raise self.refuse(f"uses {opcode.name} at byte {position}, which no state dict needs")
            try:
                if opcode.name == "STOP":
                    return self.stack.pop()
                handler(self, argument)
            except (IndexError, KeyError) as error:
                problem = f"{opcode.name} at byte {position} has no value to work on"
                raise self.refuse(problem) from error
        raise self.refuse(f"has more than {OPCODES_CAP:,} opcodes")

    def handler(self, opcode: str) -> OpcodeHandler | None:
        return HANDLERS.get(opcode)

    def refuse(self, problem: str) -> BrokenFile:
        return BrokenFile("bad-pickle", self.where, problem)

    def push(self, value: Any) -> None:
        if type(value) is int and value.bit_length() > INT_BITS_CAP:
            raise self.refuse(f"holds an integer of {value.bit_length()} bits")
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def pop(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def memorise(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise self.refuse(f"appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        self._fill(self.stack[-1], items)

    def new_dict(self, items: list[Any]) -> None:
        self.stack.append({})
        self._fill(self.stack[-1], items)

    def _fill(self, target: Any, items: list[Any]) -> None:
        if type(target) is not dict:
            raise self.refuse(f"sets items of a {type(target).__name__}")
        if len(items) % 2:
            raise self.refuse("has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Texts and numbers only: hashing nested tuples can take exponential time.
            if type(key) not in self.keys:
                raise self.refuse(f"has a key that is a {type(key).__name__}")
            target[key] = value

    def name(self, name: str) -> None:
        """Push a name. Raises BrokenFile for one that is not known."""
        if name != ORDERED_DICT:
            shown = name[:SHOWN_NAME_CHARS].replace(" ", ".")
            raise self.refuse(f"names {shown}, which is nothing that tensors are made of; it was not run")
        self.stack.append(Name(name))

    def stack_name(self) -> None:
        parts = self.pop(2)
        if not all(type(part) is str for part in parts):
            raise self.refuse("makes a name of something that is no text")
        self.name(" ".join(parts))

    def persistent(self) -> None:
        """Push the object that a persistent id stands for. Raises BrokenFile."""
        raise self.refuse("refers to something outside")

    def reduce(self) -> None:
        called, arguments = self.pop(2)
        if type(called) is not Name or type(arguments) is not tuple:
            raise self.refuse("calls something that has no name")
        self.stack.append(self.call(called.name, arguments))

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """The value that a call stands for. Raises BrokenFile for any but an OrderedDict."""
        if name != ORDERED_DICT:
            raise self.refuse(f"calls {name.replace(' ', '.')}")
        return self._ordered(arguments)

    def _ordered(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        items: dict[Any, Any] = {}
        if arguments:  # Python 2 gave the items as a list of pairs
            pairs = arguments[0]
            if len(arguments) != 1 or type(pairs) is not list:
                raise self.refuse("makes an OrderedDict of something else than pairs")
            self.copied += len(pairs)
            if self.copied > OPCODES_CAP:
                raise self.refuse(f"copies more than {OPCODES_CAP:,} items")
            for pair in pairs:
                if type(pair) not in (list, tuple) or len(pair) != 2:
                    raise self.refuse("makes an OrderedDict of something else than pairs")
                self._fill(items, list(pair))
        return items

    def build(self) -> None:
        """Drop the attributes of an OrderedDict, such as `_metadata`."""
        target, _ = self.pop(2)
        if type(target) is not dict:
            raise self.refuse(f"sets attributes of a {type(target).__name__}")
        self.stack.append(target)


OpcodeHandler = Callable[[PickleMachine, Any], None]
_VALUES = (
    "BININT BININT1 BININT2 LONG1 LONG4 INT LONG BINFLOAT FLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "UNICODE SHORT_BINSTRING BINSTRING STRING SHORT_BINBYTES BINBYTES"
)
HANDLERS: dict[str, OpcodeHandler] = {
    **{name: lambda machine, argument: machine.push(argument) for name in _VALUES.split()},
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.mark(),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "DICT": lambda machine, _: machine.new_dict(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "PUT": lambda machine, index: machine.memorise(index),
    "BINPUT": lambda machine, index: machine.memorise(index),
    "LONG_BINPUT": lambda machine, index: machine.memorise(index),
    "MEMOIZE": lambda machine, _: machine.memorise(len(machine.memo)),
    "GET": lambda machine, index: machine.push(machine.memo[index]),
    "BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "GLOBAL": lambda machine, name: machine.name(name),
    "STACK_GLOBAL": lambda machine, _: machine.stack_name(),
    "BINPERSID": lambda machine, _: machine.persistent(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}
