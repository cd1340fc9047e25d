"""Print `survey plan --explain`: why these tensors were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from survey.errors import printable
from survey.targets.explain import Candidate, Explanation


def print_explanation(model: str, explanation: Explanation, console: Console) -> None:
    """A few lines for one model: the files, the config, the candidates, and what decided."""
    console.print(f"\n[bold]{escape(printable(model))}[/]")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _lines(explanation):
        table.add_row(f"  {title}", escape(printable(text)))
    console.print(table)


def _lines(explanation: Explanation) -> Iterator[tuple[str, str]]:
    yield "files", explanation.files
    yield "config says", ", ".join(explanation.said) or "nothing about its matrices"
    yield from _listed("heads", explanation.heads)
    yield from _listed("embeddings", explanation.embeddings)
    if explanation.passed_over:
        yield from _listed("passed over", explanation.passed_over)
        if explanation.omitted:
            yield "", f"and {explanation.omitted:,} more"
    for decision in explanation.decisions:
        chosen = f"{decision.tensor}: " if decision.tensor else ""
        yield f"→ {decision.matrix}", f"{chosen}{decision.because}"


def _listed(title: str, candidates: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    if not candidates:
        yield title, "none"
    for number, item in enumerate(candidates):
        stored = f"  {item.dtype} {list(item.shape)}" if item.shape is not None else ""
        yield (title if number == 0 else ""), f"{item.tensor}{stored}  in {item.file}"
