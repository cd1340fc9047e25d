"""Peak memory of measuring a generated head, beyond what the process holds after a tiny one.

The heads lie in sparse files: each row begins with its number, or with that of its black hole, and
is zero from there on, so that a head of 4 GB takes half a GB of disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.checkpoints import CONFIG, SINGLE, header

HOLES = (814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2)  # of Qwen3-4B-Instruct-2507

PROGRAM = """
import sys
from pathlib import Path
from survey.api import measure, open_matrix

def status_kb(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

def peak_mb(tiny, model, endpoint, threads):
    first = open_matrix(tiny, endpoint=endpoint)  # imports, and compiles or loads the loops
    measure(first, device="cpu", threads=threads)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here
    before = status_kb("VmRSS")
    measured = measure(open_matrix(model, endpoint=endpoint), device="cpu", threads=threads)
    assert (measured.black_hole_count, measured.dead_count) == (13, 2100)
    return (status_kb("VmHWM") - before) / 1000
"""
ALONE = "print(peak_mb(sys.argv[1], sys.argv[2], sys.argv[3] or None, None))"
IN_A_WORKER = """
import logging, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
print(ray.get(ray.remote(peak_mb).remote(sys.argv[1], sys.argv[2], sys.argv[3] or None, 1)))
ray.shutdown()
"""


def write_head(folder: Path, rows: int, dims: int, dtype: str = "BF16") -> Path:
    """A checkpoint folder with an unembedding [V, D] and the black holes of HOLES."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"tie_word_embeddings": False}))
    item_bytes = {"BF16": 2, "F32": 4}[dtype]
    begin = header({"lm_head.weight": (dtype, (rows, dims))})
    hole_of = [hole for hole, population in enumerate(HOLES) for _ in range(population)]
    with (folder / SINGLE).open("wb") as out:
        out.write(begin)
        for row in range(rows):
            number = hole_of[row] if row < len(hole_of) else row
            out.seek(len(begin) + row * dims * item_bytes)
            out.write(_finite(number))
        out.truncate(len(begin) + rows * dims * item_bytes)
    return folder


def _finite(number: int) -> bytes:
    """A number as eight bytes that are small finite values in every format: no exponent is full."""
    return b"".join(bytes([number >> shift & 63, 60]) for shift in (0, 6, 12, 18))


def peak_mb(tiny: str, model: str, endpoint: str = "", *, in_a_worker: bool = False) -> float:
    """Of a process that measures `tiny` first; of a Ray worker if requested."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM + (IN_A_WORKER if in_a_worker else ALONE), tiny, model, endpoint],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(ran.stdout.split()[-1])
