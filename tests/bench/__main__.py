"""`make bench`: every benchmark, one after another. They print ratios and are never tests."""

from __future__ import annotations

import runpy
from pathlib import Path

for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
    print(f"\n== {path.stem}")
    runpy.run_path(str(path), run_name="__main__")
