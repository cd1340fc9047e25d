"""Small tails: what a person waits for when there is next to nothing to do, against bare Python.

python -m tests.bench.tails
"""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

from tests.bench.catalog import ROUNDS, seconds, survey
from tests.bench.models import write_model


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'command':<56}{'s':>7}{'beyond bare Python':>20}")
    with tempfile.TemporaryDirectory() as made:
        model, catalog = Path(made, "model"), str(Path(made, "catalog"))
        write_model(model, 8_000, 128, 0)
        ray, serial = ("run", str(model), "--resurvey"), ("run", str(model), "--resurvey", "--executor", "serial")  # fmt: skip
        bare = seconds("-c", "pass")
        print(f"{'bare Python':<56}{bare:>7.2f}")
        for name, command, rounds in (
            ("survey --help", ("--help",), ROUNDS),
            ("survey run ./one-small-folder --executor serial", (*serial, "--catalog", catalog), 3),
            ("survey run ./one-small-folder (embedded Ray)", (*ray, "--catalog", catalog), 3),
            ("survey query families, of that catalog", ("query", "families", "--catalog", catalog), ROUNDS),
        ):
            took = seconds(*survey(*command), rounds=rounds)
            print(f"{name:<56}{took:>7.2f}{took - bare:>20.2f}", flush=True)


if __name__ == "__main__":
    main()
