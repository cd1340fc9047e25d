"""Python subprocesses that import from the folders of this process, never from the working folder.

`python -m`, `-c` and multiprocessing's spawn put the working folder first on the path: a `json.py` in a
downloaded checkpoint, or a `jobs.py` in a user's working folder, would run.
"""

from __future__ import annotations

import sys
from pathlib import Path

# -I: no working folder, no PYTHONPATH. The path is set before the first import from it.
_START = """
import sys
sys.path[:] = {path!r}
import runpy
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""

# A process that may outlive its caller ends by itself so long after the limit at which the caller stops it.
OVERTIME_S = 5


def import_path() -> list[str]:
    """The folders from which this process imports, without those that depend on the working folder."""
    return [folder for folder in sys.path if Path(folder).is_absolute()]


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours as `python -m` does, whatever the working folder."""
    start = _START.format(path=import_path(), module=module)
    return [sys.executable, "-I", "-c", start, *arguments]
