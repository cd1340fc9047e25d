"""The shape of the source tree in one table: `python -m tests.structure [FOLDER...]`.

For each folder (default: ours) lines of modules and of functions (median, 90th percentile, largest), the widest
folder of unlike modules, top-level names that several modules define, and words of a dialect for each 1,000 lines.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent
OURS = tuple(ROOT / name for name in ("survey", "catalog", "jobs", "queries"))
DIALECT = ("found", "wanted", "place")
# Folders whose modules are alike: one command, one measure each. Their width is no burden.
ALIKE = ("survey/cli", "survey/measures")
# A protocol that several modules keep: a command, a scheduler of nightly runs, a format of tokenizers.
PROTOCOLS = frozenset({"command", "install", "installed", "remove", "unit", "reads", "parse"})


@dataclass(frozen=True, slots=True)
class Structure:
    """The figures of one source tree. reused: name -> the modules that define it."""

    modules: Sequence[int]
    functions: Sequence[int]
    widest: tuple[str, int]
    names: int
    reused: dict[str, list[str]]
    dialect: dict[str, float]

    @property
    def reused_share(self) -> float:
        """The share of all public top-level names that several modules define."""
        return len(self.reused) / max(1, self.names)


def structure(folders: Sequence[Path], root: Path = ROOT) -> Structure:
    """Read every module below the folders."""
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees.items():
        for name in sorted(set(_top_level_names(tree))):
            homes[name].append(path.relative_to(root).as_posix())
    width: dict[str, int] = defaultdict(int)
    for path in paths:
        folder = path.parent.relative_to(root).as_posix()
        width[folder] += path.name != "__init__.py" and folder not in ALIKE
    lines = sum(text.count("\n") for text in texts.values())
    words = {
        word: 1000 * sum(len(re.findall(rf"\b{word}\b", text)) for text in texts.values()) / max(1, lines)
        for word in DIALECT
    }
    return Structure(
        modules=[text.count("\n") for text in texts.values() if text],
        functions=[
            node.end_lineno - node.lineno + 1
            for tree in trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        ],
        widest=max(width.items(), key=lambda item: item[1]),
        names=len(homes),
        reused={name: where for name, where in homes.items() if len(where) > 1 and name not in PROTOCOLS},
        dialect=words,
    )


def _top_level_names(tree: ast.Module) -> Iterator[str]:
    """Public names that a module defines itself: functions, classes, constants, types."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def _spread(sizes: Sequence[int]) -> str:
    ninth = quantiles(sizes, n=10)[-1] if len(sizes) > 1 else sizes[0]
    return f"{median(sizes):.0f} / {ninth:.0f} / {max(sizes)}"


def main(arguments: Sequence[str]) -> int:
    """Print the table; with folders of other projects, a row for each of them."""
    trees = {folder: structure([Path(folder)], Path(folder).parent) for folder in arguments}
    rows = {"ours": structure(OURS), **trees}
    print("| lines, median / p90 / max | modules | functions | widest folder of unlike modules |", end="")
    print(
        f" names reused across modules | {' / '.join(DIALECT)} per 1,000 lines |\n|---|---|---|---|---|---|"
    )
    for name, figures in rows.items():
        reused = f"{len(figures.reused)} ({figures.reused_share:.1%})"
        dialect = " / ".join(f"{figures.dialect[word]:.1f}" for word in DIALECT)
        widest = f"{figures.widest[1]} ({figures.widest[0]})"
        print(
            f"| {name} | {_spread(figures.modules)} | {_spread(figures.functions)} | {widest} | {reused} | {dialect} |"
        )
    for reused_name, where in sorted(rows["ours"].reused.items()):
        print(f"  {reused_name}: {', '.join(where)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
