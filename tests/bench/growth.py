"""What questions and a run with nothing to do cost as a catalog grows, and with which exponents.

python -m tests.bench.growth [SIZE ...] [--nights N] [--dims D] [--bucket]

SIZE: models, 1,000 and 10,000 by default; 100,000 take 2 GB of disk. An exponent is the slope between two
sizes in logarithms, of CPU seconds beyond what the same command costs without models.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent))  # what tests share

from support import s3
from support.grown_catalog import Growth, grown_catalog, name_of

from queries.library import load
from tests.bench._commits import commits_of

ONE, OTHER, STRANGER = name_of(55), name_of(57), name_of(512)
PARAMETERS = {"a": ONE, "b": OTHER, "model": ONE, "repo": ONE}
TOKEN_TABLES = 100  # those of the models that are asked for, and some more
BUCKET, REQUEST_S = "grown", 0.03
# Asked of a bucket: narrow columns of all models, wide ones of all, and one model's row.
OF_A_BUCKET = ("families", "coverage", "biggest_black_holes", "relatives", "compare")
# Not the peak that wait4 states: that begins with what this process had when it forked.
PROGRAM = """
import atexit
def peak():
    lines = open("/proc/self/status").readlines()
    open({!r}, "w").write(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
atexit.register(peak)
from survey.cli import entry
entry()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took. peak_mb: its resident memory."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.wall_s:>8.2f}{self.cpu_s:>8.2f}{self.peak_mb:>7.0f}"


def commands() -> dict[str, list[str]]:
    """Every question, by name."""
    asked = {
        "show": ["show", ONE],
        "tokens": ["tokens", ONE],
        "status": ["status"],
        "lineage": ["lineage", ONE, OTHER],
        "report": ["report", "-o", os.devnull],
    }
    for name, query in load().items():
        values = {key: PARAMETERS[key] for key, default in query.parameters.items() if default is None}
        if name == "drift":
            values |= {"a": "main", "b": "main"}
        given = [word for key, value in values.items() for word in ("--param", f"{key}={value}")]
        asked[name] = ["query", name, *given]
    return asked


def cost(arguments: list[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command of the survey in a process of its own."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors, tempfile.NamedTemporaryFile("r") as peak:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(peak.name), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        assert process.returncode == 0, (arguments, errors.read()[-2000:])
        peak_mb = int(peak.read()) / 1024
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, peak_mb)


def unchanged(catalog: Path, models: int) -> Cost:
    """A run over a list of models of which none has a new commit."""
    listed = catalog.with_suffix(".txt")
    listed.write_text("\n".join(map(name_of, range(models))))
    with commits_of(models) as endpoint:
        return cost(["run", str(listed), "--catalog", str(catalog), "--endpoint", endpoint, "--no-tokens"])


@contextmanager
def bucket(catalog: Path) -> Iterator[tuple[s3.S3, dict[str, str]]]:
    """The merged rows and attempts of a catalog in a bucket that answers each request after 30 ms."""
    import boto3

    with mock.patch.object(s3, "SLOW_S", REQUEST_S), s3.serve() as served:
        environment = s3.environment(served.url)
        with mock.patch.dict(os.environ, environment):
            s3.make_bucket(BUCKET)
            client = boto3.client("s3")
            for path in [*catalog.glob("rows/*"), *catalog.glob("attempts/*")]:
                client.upload_file(str(path), BUCKET, f"c/{path.relative_to(catalog)}")
        served.faults += [s3.Fault("slow", method, times=None) for method in ("GET", "HEAD")]
        yield served, environment


def exponent(costs: list[tuple[int, Cost]], nothing: Cost) -> str:
    """The slope between the last two sizes."""
    if len(costs) < 2:
        return ""
    (few, small), (many, large) = costs[-2:]
    beyond = [max(item.cpu_s - nothing.cpu_s, 0.01) for item in (small, large)]
    return f"{math.log(beyond[1] / beyond[0]) / math.log(many / few):>8.2f}"


def ask_bucket(catalog: Path) -> None:
    print(
        f"in a bucket, {REQUEST_S * 1000:.0f} ms a request{'':<10}{'wall s':>8}{'CPU s':>8}{'MB':>7}{'requests':>10}"
    )
    with bucket(catalog) as (served, environment):
        for name in OF_A_BUCKET:
            served.requests.clear()
            taken = cost([*commands()[name], "--catalog", f"s3://{BUCKET}/c"], environment)
            print(f"  {name:<38}{taken}{len(served.requests):>10}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 10_000], metavar="SIZE")
    parser.add_argument("--nights", type=int, default=3)
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--bucket", action="store_true")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as made:
        catalogs = {size: Path(made, str(size)) for size in options.sizes}
        for size, folder in catalogs.items():
            grown_catalog(folder, Growth(size, options.dims, TOKEN_TABLES, options.nights))
        (empty := Path(made, "empty")).mkdir()
        print(
            f"{'':<22}"
            + "".join(f"{f'{size:,} models: s, CPU s, MB':>34}" for size in catalogs)
            + f"{'exponent':>10}"
        )
        nothing = cost(["status", "--catalog", str(empty)])
        for name, command in commands().items():
            costs = [
                (size, cost([*command, "--catalog", str(catalog)])) for size, catalog in catalogs.items()
            ]
            print(
                f"{name:<22}" + "".join(f"{item!s:>34}" for _, item in costs) + exponent(costs, nothing),
                flush=True,
            )
        runs = [(size, unchanged(catalog, size)) for size, catalog in catalogs.items()]
        print(
            f"{'run, all unchanged':<22}"
            + "".join(f"{item!s:>34}" for _, item in runs)
            + exponent(runs, nothing)
        )
        if len(runs) > 1:
            (few, small), (many, large) = runs[-2:]
            print(
                f"  memory of the run: {(large.peak_mb - small.peak_mb) * 1024 / (many - few):.2f} kB a model"
            )
        if options.bucket:
            ask_bucket(catalogs[options.sizes[-1]])


if __name__ == "__main__":
    main()
