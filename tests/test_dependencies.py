"""pyproject.toml's ranges and constraints.txt's versions agree, and the audit without a network finds holes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from audit import ROOT, holes, is_affected, pinned
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = canonicalize_name(PROJECT["name"])
RANGES = [
    Requirement(text)
    for text in (*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra))
]  # fmt: skip
PINS = pinned((ROOT / "constraints.txt").read_text())


@pytest.mark.parametrize(
    "requirement", [one for one in RANGES if canonicalize_name(one.name) != OWN], ids=str
)
def test_the_tested_version_lies_in_the_range(requirement: Requirement) -> None:
    assert requirement.specifier, "has no lower bound"
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_a_package_has_one_bound_wherever_it_stands() -> None:
    bounds: dict[str, set[str]] = {}
    for requirement in RANGES:
        bounds.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: limits for name, limits in bounds.items() if len(limits) > 1} == {}


# The first version without a hole that a stranger's file, page or server reaches through this program.
FIRST_WITHOUT = {
    "sentencepiece": "0.2.1", "torch": "2.6", "ray": "2.52", "pyarrow": "14.0.1", "starlette": "0.49.1",
    "h11": "0.16.0", "jinja2": "3.1.6", "aiohttp": "3.13.3", "urllib3": "2.6.3",
}  # fmt: skip


@pytest.mark.parametrize(("name", "version"), FIRST_WITHOUT.items(), ids=list(FIRST_WITHOUT))
def test_no_range_takes_a_version_with_a_known_hole(name: str, version: str) -> None:
    ranges = [one for one in RANGES if canonicalize_name(one.name) == name]
    assert ranges
    for one in ranges:
        (bound,) = one.specifier
        assert bound.operator == ">="
        assert Version(bound.version) >= Version(version)


def test_a_bound_for_a_hole_names_its_advisory() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for name in FIRST_WITHOUT:
        first = next(line for line in lines if re.match(rf'\s+"{name}[\[>]', line, re.IGNORECASE))
        assert re.search(r"CVE-20\d\d-\d+|GHSA-", first), first


def affected(name: str = "thing", **about: Any) -> dict[str, Any]:
    return {"package": {"ecosystem": "PyPI", "name": name}, **about}


def between(*events: tuple[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": [{kind: at} for kind, at in events]}]}


RANGES_OF_OSV = [
    ("before it is fixed", between(("introduced", "0"), ("fixed", "1.5")), True),
    ("fixed in it", between(("introduced", "0"), ("fixed", "1.4.2")), False),
    ("introduced in it", between(("introduced", "1.4.2")), True),
    ("introduced later", between(("introduced", "1.5")), False),
    ("the last one", between(("introduced", "1.0"), ("last_affected", "1.4.2")), True),
    ("after the last one", between(("introduced", "1.0"), ("last_affected", "1.4.1")), False),
    ("between two", between(("introduced", "0"), ("fixed", "1.2"), ("introduced", "1.6"), ("fixed", "1.7")), False),
    ("in the second, out of order", between(("fixed", "1.7"), ("introduced", "1.4"), ("fixed", "1.2"), ("introduced", "0")), True),
    ("listed", {"versions": ["1.4.2"]}, True),
    ("listed, written otherwise", {"versions": ["1.4.2.0"]}, True),
    ("others listed", {"versions": ["1.4.1", "not a version"]}, False),
    ("commits alone", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("about", "is_one"), [case[1:] for case in RANGES_OF_OSV], ids=[case[0] for case in RANGES_OF_OSV]
)
def test_a_version_is_compared_to_an_advisory(about: dict[str, Any], is_one: bool) -> None:
    assert is_affected(Version("1.4.2"), affected(**about)) is is_one


def test_an_advisory_counts_for_its_package_until_it_is_withdrawn() -> None:
    pins = {"thing-it": Version("1")}
    everything = between(("introduced", "0"))
    records = [
        {"id": "A", "aliases": ["CVE-1"], "summary": "bad", "affected": [affected("Thing_It", **everything)]},
        {"id": "B", "affected": [affected("other", **everything)]},
        {"id": "C", "withdrawn": "2026-01-01", "affected": [affected("thing-it", **everything)]},
        {"id": "D", "affected": [{"package": {"ecosystem": "npm", "name": "thing-it"}, **everything}]},
        {"id": "E"},
    ]
    assert holes(records, pins) == ["thing-it 1: A CVE-1: bad"]


@pytest.mark.parametrize(("name", "code"), [("torch", 1), ("something-else", 0)])
def test_the_audit_reads_a_copy_of_osvs_data(tmp_path: Path, name: str, code: int) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(
            "X-1.json",
            json.dumps({"id": "X-1", "affected": [affected(name, **between(("introduced", "0")))]}),
        )
    command = [sys.executable, "-m", "tests.audit", str(tmp_path / "all.zip")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (code, "")
    assert ("X-1" in ran.stdout) is bool(code)
