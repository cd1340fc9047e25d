"""`make pictures`: the pictures in the pages, each by the command that its page shows."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.browser import chromium, watched  # noqa: E402 - the two folders above hold what is imported

from documents.stage import staged  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
LARGEST_BYTES = 150_000
COMMANDS = """```console
$ survey report -o report.html --catalog survey-demo/catalog
$ survey cluster sentence-transformers/all-MiniLM-L6-v2 --matrix input --lat 54.5 --lon 19.3 --radius 4 --plot sky.png
$ survey train --batch 2 --context 64 --steps 1500 --plot train.svg
$ survey kinematics gradient_delta_history.safetensors --plot kinematics.svg
$ survey run 'you/bytes-gpt@step*'
$ survey kinematics --from-catalog 'you/bytes-gpt@step*' --plot from-catalog.svg
```
"""


def main() -> None:
    for name in ("HF_TOKEN", "RAY_ADDRESS", "HF_HUB_OFFLINE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder, staged(Path(folder)) as stage:
        os.environ["HF_HOME"] = folder
        session = stage.session(COMMANDS)
        session.play(COMMANDS)
        with contextlib.chdir(session.folder):
            shot("report.html", "report.png", width=1100, height=1000)
            shot("sky.png", "sky.png", width=900, selector="img")
            for name in ("train.svg", "kinematics.svg", "from-catalog.svg"):
                (PICTURES / name).write_bytes(Path(name).read_bytes())
    for picture in PICTURES.iterdir():
        size = picture.stat().st_size
        print(f"{picture.relative_to(ROOT)}: {size:,} bytes")
        assert size < LARGEST_BYTES, picture


def shot(page: str, name: str, *, width: int, height: int = 800, selector: str | None = None) -> None:
    """What Chromium shows of a page or a picture, drawn no wider than `width`."""
    with chromium() as browser, watched(browser, viewport={"width": width, "height": height}) as tab:
        if selector is None:
            tab.goto(Path(page).resolve().as_uri(), wait_until="networkidle")
            tab.wait_for_timeout(1000)  # charts draw themselves after the page has come
            tab.screenshot(path=PICTURES / name)
            return
        Path("frame.html").write_text(f'<body style="margin:0"><img src="{page}" style="width:{width}px">')
        tab.goto(Path("frame.html").resolve().as_uri(), wait_until="networkidle")
        tab.locator(selector).screenshot(path=PICTURES / name)


if __name__ == "__main__":
    main()
