"""Python files with everybody's names, and settings, in the folder that people work in: none of them may ever count."""

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
    """Write the modules and settings; returns the file that names each one that was imported."""
    mark = folder.parent / f"{folder.name}-imported"
    for name in NAMES:
        (folder / f"{name}.py").write_text(PROGRAM.format(mark=str(mark)))
    (folder / ".numba_config.yaml").write_text(f"cache_dir: {_cache(mark)}\n")
    return mark


def imported(mark: Path) -> list[str]:
    names = set(mark.read_text().split()) if mark.exists() else set()
    return sorted(names | ({_cache(mark).name} if _cache(mark).exists() else set()))


def _cache(mark: Path) -> Path:
    """Where numba would put compiled code, and find somebody's, if it took its settings from the folder."""
    return mark.with_name(f"{mark.name}-cache")
