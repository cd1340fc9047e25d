"""How long the report of 2,000 models takes to write and to open, and how large it is.

python -m tests.bench.report

The peer is the page of an empty catalog: what Vega and a browser cost without any model.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # what tests share

from support.big_catalog import multiplied
from support.browser import chromium

from survey.cli import main

MODELS, ROUNDS = 2000, 3


def demo(folder: Path) -> Path:
    """The demo's catalog."""
    from jobs.demo.demo_hub import demo_hub

    with demo_hub(folder) as (endpoint, _):
        common = ["--catalog", str(folder / "c"), "--endpoint", endpoint, "--executor", "serial"]
        assert main(["run", str(folder / "models.txt"), *common]) == 0
    return folder / "c"


def written(catalog: Path) -> tuple[Path, float]:
    """The page of a catalog, and the seconds that it took."""
    page = catalog.with_suffix(".html")
    began = time.perf_counter()
    assert main(["report", "-o", str(page), "--catalog", str(catalog)]) == 0
    return page, time.perf_counter() - began


def opened(page: Path) -> float:
    """Seconds until its tables stand and its scatter plot is drawn, the best of some."""
    taken = []
    with chromium() as browser:
        for _ in range(ROUNDS):
            shown = browser.new_page()
            began = time.perf_counter()
            shown.goto(page.as_uri())
            shown.wait_for_selector("html[data-ready=yes]")
            if shown.locator("[data-chart=scatter]").count():
                shown.wait_for_selector("[data-chart=scatter] svg")
            taken.append(time.perf_counter() - began)
            shown.close()
    return min(taken)


def bench() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        multiplied(demo(folder), folder / "many", MODELS, tokens=3000)
        print(f"{'page':<14}{'MB':>8}{'write s':>10}{'open s':>10}")
        for catalog in (folder / "empty", folder / "many"):
            page, seconds = written(catalog)
            size = page.stat().st_size / 1e6
            models = MODELS if catalog.name == "many" else 0
            print(f"{models:>6} models{size:>9.2f}{seconds:>10.1f}{opened(page):>10.2f}")


if __name__ == "__main__":
    bench()
