"""`make audit OSV=all.zip`: the pinned versions against a copy of OSV's records for PyPI, without a network.

https://ossf.github.io/osv-schema/ describes the records.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
Record = Mapping[str, Any]  # Any: the shape is OSV's own


def pinned(text: str) -> dict[str, Version]:
    """Each package of a constraints file and its one version."""
    versions: dict[str, Version] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            (only,) = requirement.specifier
            assert only.operator == "==", line
            versions[canonicalize_name(requirement.name)] = Version(only.version)
    return versions


def holes(records: Iterable[Record], pins: Mapping[str, Version]) -> list[str]:
    """A line for each advisory that a pinned version falls under; those withdrawn are none."""
    return sorted(
        f"{name} {pins[name]}: {record['id']} {' '.join(record.get('aliases', []))}: {record.get('summary', '')}"
        for record in records
        for name in sorted(_affected_packages(record, pins))
    )


def _affected_packages(record: Record, pins: Mapping[str, Version]) -> set[str]:
    if "withdrawn" in record:
        return set()
    packages = [
        (canonicalize_name(one["package"]["name"]), one)
        for one in record.get("affected", [])
        if one.get("package", {}).get("ecosystem") == "PyPI"
    ]
    return {name for name, affected in packages if name in pins and is_affected(pins[name], affected)}


def is_affected(version: Version, affected: Record) -> bool:
    """Whether the version is listed, or lies in a range."""
    if any(_version(listed) == version for listed in affected.get("versions", [])):
        return True
    ranges = [one["events"] for one in affected.get("ranges", []) if one["type"] != "GIT"]
    return any(_in_range(version, events) for events in ranges)


def _in_range(version: Version, events: list[dict[str, str]]) -> bool:
    """Events in their order switch a hole on (introduced) and off (fixed, or after the last one affected)."""
    inside = False
    for event in sorted(events, key=lambda event: _version(next(iter(event.values())))):
        ((kind, at),) = event.items()
        if kind == "introduced" and version >= _version(at):
            inside = True
        elif (kind == "fixed" and version >= _version(at)) or (
            kind == "last_affected" and version > _version(at)
        ):
            inside = False
    return inside


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")  # as OSV's own 0, from before the first; such versions were never pinned


def records(archive: Path) -> Iterator[Record]:
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith(".json"):
                yield json.loads(opened.read(name))


def main(archive: str) -> int:
    unsafe = holes(records(Path(archive)), pinned((ROOT / "constraints.txt").read_text()))
    print("\n".join(unsafe) or "no known vulnerability")
    return 1 if unsafe else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
