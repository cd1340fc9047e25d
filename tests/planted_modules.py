"""Python files with everybody's names, in the folder that people work in: none of them may ever be imported."""

from __future__ import annotations

from pathlib import Path

NAMES = (
    # ours, then what we import, then what Ray, Python and they import
    "jobs", "survey", "catalog", "queries",
    "click", "duckdb", "fsspec", "huggingface_hub", "httpx2", "numba", "numpy", "pyarrow", "ray", "rich", "safetensors",
    "scipy", "sentencepiece", "tokenizers", "torch", "xxhash", "yaml",
    "aiohttp", "cloudpickle", "colorama", "json", "logging", "msgpack", "pickle", "psutil", "random", "setproctitle", "socket",
    "tokenize", "types", "uuid", "sitecustomize", "usercustomize", "plugin", "utils", "config", "model",
)  # fmt: skip
PROGRAM = "open({mark!r}, 'a').write(__name__ + '\\n')\nraise ImportError(__name__)\n"


def plant(folder: Path) -> Path:
    """Write the modules; returns the file that names each one that was imported."""
    mark = folder.parent / f"{folder.name}-imported"
    for name in NAMES:
        (folder / f"{name}.py").write_text(PROGRAM.format(mark=str(mark)))
    return mark


def imported(mark: Path) -> list[str]:
    return sorted(set(mark.read_text().split())) if mark.exists() else []
