"""The folders are the architecture: arrows between them point one way, read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("survey", "catalog", "jobs", "queries")
RECORDS = (
    "survey.columns",
    "survey.target",
    "survey.measurement",
    "survey.catalog_rows",
    "survey.results",
    "survey.errors",
    "survey.interpreter",
)
MAY_IMPORT = {
    "survey": ("survey",),
    "catalog": ("catalog", *RECORDS),
    "jobs": ("jobs", "catalog", "survey"),
    # What a view holds is the catalog's to say; its measures are not.
    "queries": ("queries", "catalog", *RECORDS),
}
DOORS = {
    "huggingface_hub": ("survey/hub",),
    "httpx2": ("survey/hub",),
    "ray": ("jobs/cluster",),
    "pyarrow": ("catalog/",),
    "duckdb": ("catalog/", "queries/"),
    "fsspec": ("catalog/",),
    "scipy": ("survey/sky/basis.py",),
    "altair": ("queries/",),
    "vl_convert": ("queries/pictures.py", "queries/report.py"),
    "ijson": ("survey/json_stream.py",),
    "tokenizers": ("survey/vocabulary/",),
    "sentencepiece": ("survey/vocabulary/",),
    "numba": ("survey/kernels/",),
    "torch": (
        "survey/sums_torch.py",
        "survey/one_pass.py",
        "survey/matrix.py",
        "survey/dynamics/",
        "survey/sky/covariance.py",
        "jobs/cluster_sweep.py",
        "jobs/demo/",
    ),
    "jinja2": ("queries/report.py",),
    "starlette": ("queries/serve.py",),
    "uvicorn": ("queries/serve.py", "queries/bounded.py"),
    "prompt_toolkit": ("queries/shell_prompt.py",),
    "click": ("survey/cli/",),
}
COMMAND_LINE = ("survey", "cli")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its arrow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def backward(folder: str, names: list[str]) -> list[str]:
    """The imports of ours that a folder must not have."""
    ours = [name for name in names if name.split(".")[0] in PACKAGES]
    return [
        name for name in ours if not any(f"{name}.".startswith(f"{good}.") for good in MAY_IMPORT[folder])
    ]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_folder_imports_only_what_lies_before_it(module: Path) -> None:
    if module.parts[:2] != COMMAND_LINE:
        assert backward(module.parts[0], list(imported(module))) == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("survey", "catalog.read"),
        ("catalog", "survey.hub.resolve"),
        ("queries", "jobs.run"),
        ("catalog", "jobs"),
    ],
)
def test_an_arrow_that_points_back_is_seen(folder: str, name: str) -> None:
    assert backward(folder, ["os", "survey.target.Target", name]) == [name]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_imports_the_command_line(module: Path) -> None:
    if module.parts[:2] != COMMAND_LINE:
        assert not [name for name in imported(module) if name.startswith("survey.cli")]


@pytest.mark.parametrize("library", DOORS)
def test_an_outside_library_has_one_door(library: str) -> None:
    users = [str(path) for path in MODULES if library in {name.split(".")[0] for name in imported(path)}]
    assert users
    assert [user for user in users if not user.startswith(DOORS[library])] == []


def test_measures_do_no_input_or_output() -> None:
    outside = {
        name.split(".")[0] for path in MODULES if path.parts[1:2] == ("measures",) for name in imported(path)
    }
    harmless = {"__future__", "collections", "concurrent", "contextlib", "dataclasses", "math", "typing"}
    assert outside <= harmless | {"numpy", "survey", "xxhash"}
