"""CONTRIBUTING.md describes the source tree: it names every sub-package, and no missing file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGES = ("survey", "catalog", "jobs", "queries")
PATHS = sorted(
    set(re.findall(r"`((?:survey|catalog|jobs|queries|tests|docs)/[\w./]+)`", TEXT)) - {"survey/cli/X.py"}
)
SECTIONS = re.split(r"^`(\w+)/` is [^\n]*:$", TEXT, flags=re.M)
TABLES = dict(zip(SECTIONS[1::2], SECTIONS[2::2], strict=True))


def sub_packages(package: str) -> set[str]:
    folders = {path.parent for path in (ROOT / package).glob("*/*") if path.suffix in (".py", ".sql", ".sh")}
    return {folder.name for folder in folders if folder.name != "__pycache__"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_sub_package_has_its_line(package: str) -> None:
    rows = [line.split("|")[1] for line in TABLES[package].splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)/`", row)}
    assert named == sub_packages(package)


@pytest.mark.parametrize("path", PATHS)
def test_each_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()
