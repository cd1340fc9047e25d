"""Python processes of our own: they import what this process imports from, never the folder they stand in.

`python -m` puts the current folder first on the path, and so do `-c` and multiprocessing's spawn: a
`json.py` in a downloaded checkpoint, or a `jobs.py` in somebody's working folder, would run.
"""

from __future__ import annotations

import sys
from pathlib import Path

# -I: no current folder, no PYTHONPATH. The path is set before anything else is imported from it.
_START = """
import sys
sys.path[:] = {path!r}
import runpy
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def import_path() -> list[str]:
    """The folders from which this process imports, less those that depend on where it stands."""
    return [folder for folder in sys.path if Path(folder).is_absolute()]


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours as `python -m` does, wherever it is started."""
    start = _START.format(path=import_path(), module=module)
    return [sys.executable, "-I", "-c", start, *arguments]
