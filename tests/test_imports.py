"""The folders are the architecture: arrows between them point one way, read from the syntax trees."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("survey", "catalog", "jobs", "queries")
SHARED = ("survey.records", "survey.errors", "survey.process")  # what every folder may import of survey
MAY_IMPORT = {
    "survey": ("survey",),
    "catalog": ("catalog", *SHARED),
    "jobs": ("jobs", "catalog", "survey"),
    # The catalog defines the columns of a view, and not their measures.
    "queries": ("queries", "catalog", *SHARED),
}
# Within a folder a module imports from what stands before its own sub-package, and from that itself.
ORDER = {
    "survey": [
        "process.redaction",
        "errors",
        "process",
        "records",
        "onepass.geometry",
        "onepass.kernels",
        "numerics",
        "formats",
        "unembedding",
        "checkpoints",
        "sharding",
        "targets",
        "hub",
        "opening",
        "vocabulary",
        "onepass",
        "populations",
        "measures",
        "spectra",
        "sky",
        "dynamics",
        "api",
        "cli",
    ],
    "catalog": ["files", "schema_of_records", "store", "tables", "read", "write"],
    "jobs": ["planning", "tasks", "executors.progress", "single_results", "executors", "backfill", "run"],
    "queries": ["description", "library", "histograms", "scree", "drawing", "charts", "text", "web", "shell"],
}
# Rooms of their own: a scheduler's unit needs the list of models, the local Hub nothing of ours.
APART = {"nightly": ("planning", "nightly"), "demo": ("demo",)}
DOORS = {
    "huggingface_hub": ("survey/hub/",),
    "httpx2": ("survey/hub/",),
    "ray": ("jobs/executors/ray_",),
    "pyarrow": ("catalog/",),
    "duckdb": ("catalog/", "queries/"),
    "fsspec": ("catalog/store/",),
    "scipy": ("survey/spectra/eigen.py",),
    "altair": ("queries/",),
    "vl_convert": ("queries/drawing/picture_files.py",),
    "ijson": ("survey/formats/json_stream.py",),
    "tokenizers": ("survey/vocabulary/",),
    "sentencepiece": ("survey/vocabulary/",),
    "gguf": ("survey/numerics/ggml_types.py", "jobs/demo/twins.py"),
    "numba": ("survey/onepass/kernels/jit.py",),
    "llvmlite": ("survey/onepass/kernels/jit.py",),
    "torch": (
        "survey/onepass/cuda/",
        "survey/onepass/device.py",
        "survey/api.py",
        "survey/dynamics/",
        "survey/spectra/",
        "jobs/executors/ray_sweep.py",
        "jobs/demo/",
    ),
    "triton": ("survey/onepass/cuda/kernels.py", "survey/onepass/cuda/digests.py"),
    "jinja2": ("queries/web/report.py",),
    "starlette": ("queries/web/",),
    "uvicorn": ("queries/web/",),
    "prompt_toolkit": ("queries/shell/prompt.py",),
    "click": ("survey/cli/",),
}
COMMAND_LINE = ("survey", "cli")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@functools.cache
def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its arrow"
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return names


def needed_while_loading(path: Path) -> Iterator[str]:
    """Imports of a module less those for annotations alone, which nothing waits for."""
    tree = ast.parse((ROOT / path).read_text())
    annotations = {
        alias_node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for alias_node in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in annotations:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def backward(folder: str, names: list[str]) -> list[str]:
    """The imports of ours that a folder must not have."""
    ours = [name for name in names if name.split(".")[0] in PACKAGES]
    return [
        name for name in ours if not any(f"{name}.".startswith(f"{good}.") for good in MAY_IMPORT[folder])
    ]


def room(name: str) -> tuple[str, int] | None:
    """The folder of a dotted name and the number of its sub-package in ORDER; None if it has none."""
    folder, _, rest = name.partition(".")
    order = ORDER.get(folder, ())
    known = [number for number, part in enumerate(order) if f"{rest}.".startswith(f"{part}.")]
    return (folder, max(known, key=lambda number: len(order[number]))) if known else None


def out_of_order(module: str, names: list[str]) -> list[str]:
    """The imports of a module from sub-packages that stand after its own."""
    here = room(module)
    if here is None:
        return []
    rooms = ((name, room(name)) for name in names)
    return [name for name, there in rooms if there and there[0] == here[0] and there[1] > here[1]]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_folder_imports_only_what_lies_before_it(module: Path) -> None:
    if module.parts[:2] != COMMAND_LINE:
        assert backward(module.parts[0], imported(module)) == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("survey", "catalog.read.reader"),
        ("catalog", "survey.hub.repositories.resolve"),
        ("queries", "jobs.run.driver"),
        ("catalog", "jobs"),
    ],
)
def test_an_arrow_that_points_back_is_seen(folder: str, name: str) -> None:
    assert backward(folder, ["os", "survey.records.target.Target", name]) == [name]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_sub_package_imports_only_what_stands_before_it(module: Path) -> None:
    dotted = ".".join(module.with_suffix("").parts)
    assert out_of_order(dotted, list(needed_while_loading(module))) == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("survey.formats.torch_zip", "survey.targets.locate.locate"),
        ("survey.onepass.geometry", "survey.onepass.fold.fold"),
        ("catalog.store.lock", "catalog.read.reader.Reader"),
        ("jobs.planning.plan", "jobs.run.driver.survey_models"),
        ("queries.charts.sky", "queries.text.card.print_card"),
    ],
)
def test_a_sub_package_that_reaches_ahead_is_seen(module: str, name: str) -> None:
    assert out_of_order(module, ["os", "survey.errors.SurveyError", name]) == [name]


@pytest.mark.parametrize("folder", APART)
def test_a_room_of_its_own_knows_nothing_of_the_others(folder: str) -> None:
    allowed = tuple(f"jobs.{name}." for name in APART[folder])
    for module in MODULES:
        if module.parts[:2] == ("jobs", folder):
            reached = [name for name in imported(module) if name.startswith("jobs.")]
            assert [name for name in reached if not name.startswith(allowed)] == []


def test_every_module_has_its_place_in_the_order() -> None:
    placed = {path for path in MODULES if room(".".join(path.with_suffix("").parts))}
    apart = {path for path in MODULES if path.parts[0] == "jobs" and path.parts[1] in APART}
    assert {path for path in MODULES if path.name != "__init__.py"} - placed - apart == set()


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


def test_a_measure_is_one_file_with_a_test_of_its_name() -> None:
    measures = {path.stem for path in MODULES if path.parts[1:2] == ("measures",)} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/survey/measures").glob("test_*.py")}
    assert measures - tests == set()
