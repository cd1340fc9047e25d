"""Hostile pickles: whatever a file says, no code of it runs, and it costs neither memory nor time."""

import io
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.pickles import archive, number, storage, tensor_pickle, text

from survey.errors import BrokenFile
from survey.formats.pickle_machine import OPCODES_CAP
from survey.formats.torch_tensor import PickledTensor, Storage
from survey.formats.unpickler import read_pickle, state_dict

WHERE = "org/model/pytorch_model.bin"
TENSOR = tensor_pickle(shape=(4, 3), strides=(3, 1), elements=12)


def refusal(pickled: bytes) -> str:
    with pytest.raises(BrokenFile) as caught:
        state_dict(read_pickle(io.BytesIO(pickled), WHERE), WHERE)
    assert (caught.value.reason, caught.value.where) == ("bad-pickle", WHERE)
    return caught.value.problem


def test_a_state_dict_is_a_description() -> None:
    unpickled = read_pickle(io.BytesIO(b"\x80\x02}" + text("a") + TENSOR + b"s."), WHERE)
    assert unpickled == {"a": PickledTensor(Storage("0", "F32", 12), "F32", 0, (4, 3), (3, 1))}


# ---- code is never run


class Runs:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        pytest.param(os.system, ("touch ran",), "posix.system", id="os.system"),
        pytest.param(eval, ("open('ran', 'w')",), "eval", id="eval"),
        pytest.param(exec, ("open('ran', 'w')",), "exec", id="exec"),
        pytest.param(open, ("ran", "w"), "open", id="open"),
        pytest.param(subprocess.Popen, (["touch", "ran"],), ".Popen", id="Popen"),
        pytest.param(getattr, (os, "system"), "getattr", id="getattr"),
        pytest.param(__import__, ("os",), "__import__", id="import"),
        pytest.param(torch.load, ("ran",), "torch.serialization.load", id="torch.load"),
        pytest.param(torch.storage._load_from_bytes, (b"",), "torch.storage._load_from_bytes", id="nested-load"),
    ],
)  # fmt: skip
def test_a_pickle_that_calls_a_function_is_refused_and_nothing_runs(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    name: str,
    protocol: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if function is getattr:
        arguments = (int, "real")  # modules have no pickle
    for value in (
        Runs(function, *arguments),
        {"a": Runs(function, *arguments)},
        [[(Runs(function, *arguments),)]],
    ):
        problem = refusal(pickle.dumps(value, protocol))
        assert f"{name}, which is nothing that tensors are made of; it was not run" in problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pickled", "problem"),
    [
        pytest.param(b"cos\nsystem\n.", "names os.system", id="a-bare-name"),
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "names os.system", id="a-name-from-the-stack"),
        pytest.param(b"\x80\x04\x8c\x05torch\x8c\x0fstorage.os.path\x93.", "names torch.storage.os.path", id="a-path-of-names"),
        pytest.param(b"ctorch\n_utils.os.system\n.", "names torch._utils.os.system", id="a-name-within-torch"),
        pytest.param(b"\x80\x04K\x01\x8c\x06system\x93.", "makes a name of something that is no text", id="a-name-of-a-number"),
        pytest.param(b"(ios\nsystem\n.", "uses INST", id="inst"),
        pytest.param(b"(cos\nsystem\no.", "names os.system", id="obj"),
        pytest.param(b"(ctorch\nFloatStorage\no.", "uses OBJ", id="obj-of-torch"),
        pytest.param(b"\x80\x02ctorch\nFloatStorage\n)\x81.", "uses NEWOBJ", id="newobj"),
        pytest.param(b"\x80\x04ctorch\nFloatStorage\n)}\x92.", "uses NEWOBJ_EX", id="newobj-ex"),
        pytest.param(b"\x80\x02\x82\x01.", "uses EXT1", id="extension"),
        pytest.param(b"Px\n.", "uses PERSID", id="persistent-id-in-text"),
        pytest.param(b"ctorch\nFloatStorage\n(t" + b"R.", "calls torch.FloatStorage", id="a-storage-called"),
        pytest.param(b"ctorch\nfloat32\n)R.", "calls torch.float32", id="a-dtype-called"),
        pytest.param(text("a") + b")R.", "calls something that has no name", id="a-text-called"),
        pytest.param(b"ccollections\nOrderedDict\n" + text("x") + b"R.", "calls something", id="arguments-of-text"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "gives torch._utils._rebuild_tensor_v2 0 arguments", id="no-arguments"),
        pytest.param(TENSOR + b"}b.", "sets attributes of a PickledTensor", id="attributes-of-a-tensor"),
        pytest.param(
            b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nctorch\nTensor\n)}tR.",
            "names posix.system",
            id="a-tensor-rebuilt-by-the-shell",
        ),
        pytest.param(
            b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\n)}tR.",
            "has a tensor of type torch.Tensor",
            id="a-rebuild-within-a-rebuild",
        ),
    ],
)  # fmt: skip
def test_a_hostile_opcode_is_refused(pickled: bytes, problem: str) -> None:
    assert problem in refusal(pickled)


def test_no_module_is_imported_and_the_pickle_machine_never_starts() -> None:
    program = """
import io, sys
from survey.errors import BrokenFile
from survey.formats.unpickler import read_pickle
import pickle
def fail(*arguments, **options): raise SystemExit("the pickle machine was started")
pickle.loads = pickle.load = pickle.Unpickler = pickle._Unpickler = fail
before = set(sys.modules)
for module in ("antigravity", "this", "torch", "ctypes"):
    try:
        read_pickle(io.BytesIO(f"c{module}\\nx\\n.".encode()), "here")
    except BrokenFile as error:
        print(error.problem)
print(sorted(set(sys.modules) - before))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [line.split(",")[0] for line in ran.stdout.splitlines()] == [
        "names antigravity.x",
        "names this.x",
        "names torch.x",
        "names ctypes.x",
        "[]",
    ]


# ---- values that are none


@pytest.mark.parametrize(
    ("pickled", "problem"),
    [
        pytest.param(b"", "is no whole pickle: pickle exhausted before seeing STOP", id="empty"),
        pytest.param(b"}", "is no whole pickle: pickle exhausted before seeing STOP", id="no-stop"),
        pytest.param(b"\xff.", "is no whole pickle", id="no-opcode"),
        pytest.param(b".", "STOP at byte 0 has no value to work on", id="nothing"),
        pytest.param(b"\x85.", "TUPLE1 at byte 0 has no value", id="a-tuple-of-nothing"),
        pytest.param(b"}s.", "SETITEM at byte 1 has no value", id="an-item-of-nothing"),
        pytest.param(b"t.", "TUPLE at byte 0 has no value", id="no-mark"),
        pytest.param(b"h\x07.", "BINGET at byte 0 has no value", id="never-memorised"),
        pytest.param(b"}(K\x01u.", "has a key without a value", id="half-an-item"),
        pytest.param(b"})K\x01s.", "has a key that is a tuple", id="a-tuple-for-a-key"),
        pytest.param(b"}}K\x01s.", "has a key that is a dict", id="a-dict-for-a-key"),
        pytest.param(b"]K\x01K\x01s.", "sets items of a list", id="items-of-a-list"),
        pytest.param(b"}K\x01a.", "appends to a dict", id="appended-to-a-dict"),
        pytest.param(number(2**63) + b".", "holds an integer of 64 bits", id="an-integer-of-64-bits"),
        pytest.param(b"\x8b" + (10**6).to_bytes(4, "little") + b"\x7f" * 10**6 + b".", "holds an integer of 7999999 bits", id="a-huge-integer"),
        pytest.param(b"S'\\q'\n.", "is no whole pickle", id="an-odd-escape"),
        pytest.param(b"L" + b"9" * 5000 + b"L\n.", "is no whole pickle", id="an-integer-of-5000-digits"),
        pytest.param(b"X\xff\xff\xff\x7fabc.", "is no whole pickle", id="a-text-longer-than-the-file"),
        pytest.param(b"\x8d" + b"\xff" * 8 + b".", "is no whole pickle", id="a-text-of-2-to-the-64"),
        pytest.param(b"\x8b\xff\xff\xff\xff.", "is no whole pickle", id="an-integer-of-negative-length"),
        pytest.param(text("storage") + b"Q.", "refers to something outside that is no storage", id="persistent-text"),
        pytest.param(storage(kind="Tensor") + b".", "has a storage of no known type", id="a-storage-of-tensors"),
        pytest.param(storage(elements=-1) + b".", "has a storage without a key or a size", id="negative-size"),
        pytest.param(tensor_pickle(shape=(-1, 3), strides=(3, 1), elements=12) + b".", "has a tensor whose offset, shape or strides are not those of a tensor", id="negative-shape"),
        pytest.param(tensor_pickle(shape=(4, 3), strides=(-3, 1), elements=12) + b".", "shape or strides are not those of a tensor", id="negative-strides"),
        pytest.param(tensor_pickle(shape=(4, 3), strides=(3, 1), elements=12, offset=-1) + b".", "shape or strides are not those of a tensor", id="negative-offset"),
        pytest.param(tensor_pickle(shape=(4, 3), strides=(1,), elements=12) + b".", "shape or strides are not those of a tensor", id="strides-of-another-length"),
        pytest.param(tensor_pickle(shape=(1,) * 65, strides=(1,) * 65, elements=1) + b".", "shape or strides are not those of a tensor", id="65-dimensions"),
        pytest.param(tensor_pickle(shape=(4,), strides=(1,), elements=4, kind="UntypedStorage").replace(b"ctorch\nU", b"ctorch.storage\nU") + b".", "has a tensor without a dtype", id="no-dtype"),
    ],
)  # fmt: skip
def test_a_pickle_that_makes_no_sense_is_refused(pickled: bytes, problem: str) -> None:
    assert problem in refusal(pickled)


# ---- bombs: small files that would grow

BOMBS = {
    "opcodes": b"}0" * 4_000_000,
    "dicts": b"}" * (8 << 20),
    "memo": b"N" + b"\x94" * 4_000_000,
    "marks": b"(" * (8 << 20),
    "tuples-within-tuples": b")" + b"\x85" * 4_000_000 + b".",
    "tuples-that-double": b")" + b"2\x86" * 1000,
    "memorised-tuples-that-double": b")" + b"q\x00h\x00\x86" * 300_000 + b".",
    "a-list-within-itself": b"]q\x00h\x00a.",
    "a-dict-within-itself": b"}q\x00K\x01h\x00s.",
    "tuples-as-keys": b"}(" + b")" + b"q\x00h\x00\x86" * 1000 + b"K\x01u.",
    "pairs-copied-again-and-again": (
        b"]q\x00(" + (b"K\x01K\x02\x86" * 200_000) + b"e\x85q\x01"
        + b"ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01R" * 200_000 + b"."
    ),
    "long-texts": b"X\xff\xff\x00\x00" + b"x" * 65535 + b"q\x00" + b"h\x00" * 900_000 + b".",
}  # fmt: skip


def test_bombs_take_neither_long_nor_much(tmp_path: Path) -> None:
    for name, content in BOMBS.items():
        (tmp_path / name).write_bytes(content)
    program = """
import io, pathlib, resource, sys
from survey.errors import BrokenFile
from survey.formats.unpickler import read_pickle, state_dict
for name in sys.argv[1:]:
    content = pathlib.Path(name).read_bytes()
    room = int(open("/proc/self/statm").read().split()[0]) * 4096 + (256 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    try:
        state_dict(read_pickle(io.BytesIO(content), "here"), "here")
    except BrokenFile as error:
        print(error.reason)
"""
    start = time.monotonic()
    paths = [tmp_path / name for name in BOMBS]
    ran = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("bad-pickle\n" * len(BOMBS), "", 0)
    assert time.monotonic() - start < 60
    assert OPCODES_CAP == 1_000_000


def test_what_torch_refuses_to_load_is_refused_here_too() -> None:
    pickled = pickle.dumps({"a": Runs(os.system, "true")}, 2)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(archive({"data.pkl": pickled, "version": b"3"})), weights_only=True)
    assert "posix.system" in refusal(pickled)
