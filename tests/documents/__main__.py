"""`make docs`: the generated parts of the pages, and what the commands in them print."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from documents.generated import filled, pages  # noqa: E402 - the two folders above hold what is imported
from documents.stage import staged  # noqa: E402


def main() -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "RAY_ADDRESS", "HF_HUB_OFFLINE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder, staged(Path(folder)) as stage:
        os.environ["HF_HOME"] = folder
        for page in pages():
            text = page.read_text()
            page.write_text(stage.session(text).play(filled(text)))


if __name__ == "__main__":
    main()
