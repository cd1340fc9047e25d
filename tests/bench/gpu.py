"""A GPU beside the CPU: every bit of the pass, its speed, and folders with `--device auto` and `cpu`.

Needs a CUDA device, and in Python what a CUDA image of PyTorch has beside this project's own needs; numbers
are of this machine, in one run. Without a GPU it says so.

python -m tests.bench.gpu [--folders N]
"""

from __future__ import annotations

import argparse
import gc
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from survey.measures import measure_result
from survey.numerics.dtypes import FLOATS
from survey.onepass.device import DeviceRows
from survey.onepass.fold import fold
from survey.process.interpreter import python_command
from survey.process.machine import cpus
from survey.records.blocks import Block
from tests.support.pass_bits import pass_bits

MODULE = "tests.bench.gpu"
HEADS = (("0.78 GB", 151_936, 2_560), ("2.1 GB", 128_256, 8_192))
SHAPES = {
    "a small matrix": (70, 260),
    "odd D": (5_000, 77),
    "one row": (1, 300),
    "one column": (3_000, 1),
    "rows of whole words, several batches": (140_000, 128),
    "several chunks to a batch, a rest": (9_001, 4_096),
}


# ---- every bit


def random_words(code: str, rows: int, dims: int) -> torch.Tensor:
    """Rows of every word of a format: NaN, infinities, zeros of both signs and tiny values among them.

    Some rows are equal, some are zero, and some magnitudes lie far apart.
    """
    form = FLOATS[code]
    made = np.random.default_rng(rows + dims)
    values = torch.from_numpy(made.normal(0, 0.02, (rows, dims)))
    words = values.to(getattr(torch, form.torch_name)).view(torch.uint8).view(rows, -1).clone()
    chance = torch.from_numpy(np.frombuffer(made.bytes(words.numel()), np.uint8).reshape(words.shape).copy())
    words[::3] = chance[::3]  # of all bits
    words[1::7, form.item_bytes - 1 :: form.item_bytes] &= 0x8F  # tiny values
    words[5::50] = words[min(5, rows - 1)].clone()
    words[6::90] = 0
    words[7::300, form.item_bytes - 1 :: form.item_bytes] = 0x80  # −0, or a tiny negative
    return words


def check_bits(gpu: str) -> bool:
    """Check each format in a process of its own, as compiling its kernels takes most of the time."""
    print("every bit of the pass, beside the CPU's")
    started = [
        subprocess.Popen(python_command(MODULE, "--bits", code, gpu), stdout=subprocess.PIPE, text=True)
        for code in FLOATS
    ]
    said = [process.communicate()[0] for process in started]
    right = not any(process.returncode for process in started) and not any(said)
    print("".join(said), end="")
    print(f"  {len(FLOATS)} formats × {len(SHAPES)} shapes × 2 ways: {'all equal' if right else 'WRONG'}")
    return right


def check_bits_of(code: str, gpu: str) -> None:
    """Print what differs between the devices."""
    form = FLOATS[code]
    for name, (rows, dims) in SHAPES.items():
        words = random_words(code, rows, dims)
        stored = words.numpy().data.cast("B")
        tensor = words.to(gpu).view(getattr(torch, form.torch_name))
        with fold([stored], form, (rows, dims), "cpu") as folded:
            expected = pass_bits(folded)
        for way, source in (("host", cut(stored)), ("GPU", DeviceRows(tensor))):
            with fold(source, form, (rows, dims), gpu) as folded:
                got = pass_bits(folded)
            wrong = [field for field in expected | got if expected.get(field) != got.get(field)]
            if wrong:
                print(f"  WRONG {code}, {name}, from the {way}: {', '.join(wrong)}")


def cut(stored: Block, block_bytes: int = 5 << 20) -> Iterator[Block]:
    """Blocks as requests bring them."""
    view = memoryview(stored)
    for start in range(0, len(view), block_bytes):
        yield view[start : start + block_bytes]


# ---- the pass


def best_s(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        gc.collect()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def head(rows: int, dims: int) -> torch.Tensor:
    """Random rows, all different but for 2,100 dead ones."""
    made = torch.Generator().manual_seed(0)
    some = torch.empty(4096, dims).normal_(0, 0.02, generator=made).bfloat16()
    weight = some.repeat(-(-rows // len(some)), 1)[:rows]
    numbers = torch.arange(rows)
    for dim in range(3):
        weight.view(torch.int16)[:, dim] = (0x3C00 | (numbers >> 8 * dim) & 0xFF).to(torch.int16)
    weight[100:2_200] = weight[100].clone()
    return weight


def time_first_pass(gpu: str) -> None:
    """What a process takes from its start to the end of its first pass, with all caches filled."""
    for device in (gpu, "cpu"):
        taken = []
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run(python_command(MODULE, "--first", device), check=True)
            taken.append(time.perf_counter() - start)
        print(f"  a process and its first pass, 0.05 GB, on {device:<20}{taken[-1]:>8.2f} s")


def first_pass(device: str) -> None:
    rows = np.random.default_rng(0).integers(0, 60, (10_000, 5_120), np.uint8)
    with fold([rows.data.cast("B")], FLOATS["BF16"], (10_000, 2_560), device):
        pass


def time_pass(gpu: str) -> None:
    form = FLOATS["BF16"]
    for name, rows, dims in HEADS:
        weight = head(rows, dims)
        stored, gigabytes = weight.view(torch.uint8).numpy().data.cast("B"), weight.numel() * 2 / 1e9

        def run(source: Iterable[Block], device: str, threads: int | None, measures: bool) -> None:
            with fold(source, form, (rows, dims), device, threads=threads) as result:  # noqa: B023
                if measures:
                    measure_result(result, threads=threads or cpus())

        ways: dict[str, tuple[Iterable[Block], str, int | None]] = {
            "CUDA, from the host": ([stored], gpu, None),
            "CUDA, in blocks of 5 MiB": (list(cut(stored)), gpu, None),
            "CUDA, from the GPU": (DeviceRows(weight.to(gpu)), gpu, None),
            **{f"CPU, {count} threads": ([stored], "cpu", count) for count in (1, 2, 4, 8, 12, 16)},
        }
        print(f"\n{name} BF16, {rows:,} × {dims:,}{'pass s':>22}{'GB/s':>8}{'with measures s':>18}")
        for way, (source, device, threads) in ways.items():
            repeats = 5 if device == gpu else 2
            passed = best_s(lambda: run(source, device, threads, False), repeats)  # noqa: B023
            measured = best_s(lambda: run(source, device, threads, True), 1)  # noqa: B023
            print(f"  {way:<44}{passed:>8.3f}{gigabytes / passed:>8.1f}{measured:>18.3f}", flush=True)


# ---- folders


def write_folder(folder: Path, weight: torch.Tensor) -> None:
    folder.mkdir()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    stored = weight.view(torch.uint8).numpy()
    entry = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": [0, stored.nbytes]}
    header = json.dumps({"lm_head.weight": entry}).encode()
    with (folder / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        stored.tofile(out)


def time_folders(count: int) -> None:
    """A run over folders in one process, from its start to its end, with each device in turn."""
    name, rows, dims = HEADS[-1]
    weight = head(rows, dims)
    print(f"\n{count} folders of {name}, a run of one process{'s':>12}{'measure_s, last':>18}  device")
    with tempfile.TemporaryDirectory() as made:
        for number in range(count):
            weight[number] = number
            write_folder(Path(made, f"head-{number}"), weight)
        folders = [str(Path(made, f"head-{number}")) for number in range(count)]
        for device in ("cpu", "auto", "cuda", "auto", "cpu"):
            with tempfile.TemporaryDirectory() as catalog:
                command = [*folders, "--catalog", catalog, "--executor", "serial", "--device", device]
                start = time.perf_counter()
                subprocess.run(
                    python_command(MODULE, "--survey", "run", *command),
                    check=True,
                    capture_output=True,
                )
                elapsed = time.perf_counter() - start
                last_s, used = last_row(catalog)
            print(f"  {device:<40}{elapsed:>12.2f}{last_s:>18.2f}  {used}", flush=True)


def last_row(catalog: str) -> tuple[float, str]:
    """measure_s and the device of the model that was measured last, and why it was chosen."""
    import pyarrow.dataset

    files = [str(path) for path in Path(catalog, "rows").glob("*.parquet")]
    columns = ["measured_at", "measure_s", "device", "device_reason"]
    rows = pyarrow.dataset.dataset(files).to_table(columns=columns).to_pylist()
    last = max(rows, key=lambda row: row["measured_at"])
    return last["measure_s"], f"{last['device']}: {last['device_reason']}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folders", type=int, default=8)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing is timed")
        return
    gpu = "cuda:0"
    print(f"{torch.cuda.get_device_name(gpu)}, {cpus()} CPUs, torch {torch.__version__}")
    start = time.perf_counter()
    right = check_bits(gpu)
    print(f"  {time.perf_counter() - start:.0f} s, compiling included")
    time_first_pass(gpu)
    time_pass(gpu)
    if given.folders:
        time_folders(given.folders)
    sys.exit(not right)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--survey"]:
        from survey.cli import entry

        sys.argv[:2] = ["survey"]
        entry()
    elif sys.argv[1:2] == ["--bits"]:
        check_bits_of(*sys.argv[2:4])
    elif sys.argv[1:2] == ["--first"]:
        first_pass(sys.argv[2])
    else:
        main()
