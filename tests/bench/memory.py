"""Peak memory by size of the head, beyond a process that has measured a tiny one; MB.

python -m tests.bench.memory
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # as pytest sees it

from support.peak_memory import peak_mb, write_head

from jobs.demo.hub.local_hub import LocalHub

HEADS = (("0.4 GB", 151_936, 1_280), ("0.8 GB", 151_936, 2_560), ("2.1 GB", 128_256, 8_192), ("4.2 GB", 128_256, 16_384))  # fmt: skip


def main() -> None:
    print(
        f"{'head, BF16':<12}{'V × D':>20}{'folder':>10}{'Hub':>10}{'Ray worker, folder':>20}{'and Hub':>10}"
    )
    with tempfile.TemporaryDirectory() as made, LocalHub() as hub:
        write_head(Path(made, "tiny"), 2200, 64)
        hub.add_repo("org/tiny", Path(made, "tiny"))
        for name, rows, dims in HEADS:
            folder = write_head(Path(made, name), rows, dims)
            hub.add_repo("org/head", folder)
            tiny, here = str(Path(made, "tiny")), str(folder)
            peaks = (
                peak_mb(tiny, here),
                peak_mb("org/tiny", "org/head", hub.endpoint),
                peak_mb(tiny, here, in_a_worker=True),
                peak_mb("org/tiny", "org/head", hub.endpoint, in_a_worker=True),
            )
            print(
                f"{name:<12}{f'{rows:,} × {dims:,}':>20}{peaks[0]:>10.0f}{peaks[1]:>10.0f}{peaks[2]:>20.0f}"
                f"{peaks[3]:>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
