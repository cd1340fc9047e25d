"""Variables of Ray in the environment: values that it cannot read end the process that loads it.

    python -m jobs.executors.ray_settings

Ray reads its settings in compiled code as it is imported, and `RAY_memory_usage_threshold=abc` is a
segmentation fault. So a process of its own tries it first, if there are such variables.
"""

from __future__ import annotations

import os
import signal
import subprocess

from jobs.executors.ray_start import OWN_FOLDER
from survey.errors import UsageError
from survey.process.interpreter import python_command

# Texts that are read only when they are used, and one that Ray sets itself.
_TEXTS = frozenset(
    {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_CLIENT_MODE", "RAY_TMPDIR"}
)
_TRY_S = 60.0  # loading Ray takes a second
_MOST_NAMES = 5


def ray_settings() -> str:
    """The names of the variables that may change how Ray starts; empty if there are none."""
    names = sorted(name for name in os.environ if name.startswith("RAY_") and name not in _TEXTS)
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def refuse_settings() -> None:
    """Raise UsageError if Ray cannot be loaded with the variables of this environment."""
    names = ray_settings()
    problem = _problem_of_loading() if names else ""
    if problem:
        raise UsageError(
            f"Ray cannot be loaded with the settings of this environment ({names}): {problem}. "
            "Unset those variables, or add --executor serial"
        )


def _problem_of_loading() -> str:
    """How a process ends that loads Ray; empty if it ends well."""
    try:
        tried = subprocess.run(
            python_command("jobs.executors.ray_settings"), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_TRY_S, cwd=OWN_FOLDER, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it takes longer than {_TRY_S:.0f} s"
    if tried.returncode < 0:
        return f"it ends with {signal.Signals(-tried.returncode).name}"
    last_line = tried.stderr.strip().rpartition("\n")[2]
    return (last_line or f"it ends with {tried.returncode}") if tried.returncode else ""


if __name__ == "__main__":
    import ray

    assert ray.__version__
