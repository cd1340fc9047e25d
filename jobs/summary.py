"""What a run or a plan says at its end, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.outcome import Delivered
from jobs.plan import Plan
from jobs.run import Result
from survey.errors import REASONS
from survey.records import Target


def print_plan(plan: Plan, console: Console, *, explain: bool = False) -> None:
    """The plan: what would be read from each model, and why this tensor."""
    if plan.targets:
        table = _table("model", "sha", "tensor", "file", "dtype", "V × D", "read", "of", "memory")
        for target in plan.targets:
            spec = target.spec
            rows, dims = spec.shape
            table.add_row(
                escape(target.identity.repo),
                target.identity.sha[:10],
                escape(spec.name),
                escape(spec.file),
                spec.dtype,
                f"{rows:,} × {dims:,}",
                size(len(spec.bytes)),
                size(target.repo_bytes),
                size(target.memory_bytes),
            )
        console.print(table)
        total = sum(len(target.spec.bytes) for target in plan.targets)
        whole = sum(target.repo_bytes for target in plan.targets)
        console.print(
            f"{len(plan.targets)} to measure: {size(total)} to read of {size(whole)} in their repositories"
        )
    if explain:
        for target in plan.targets:
            console.print(_explanation(target))
    if plan.unchanged:
        console.print(f"{len(plan.unchanged)} already measured at their commit")
    _print_refused(
        ((str(item.model), item.matrix, item.reason, item.message) for item in plan.refusals),
        console,
    )


def print_result(result: Result, console: Console) -> None:
    """What was measured, and what was refused and why."""
    if result.measured:
        table = _table(
            "model", "matrix", "V × D", "dtype", "holes", "dead", "ratio", "angle °", "fetched", "of", "s"
        )
        for item in result.measured:
            table.add_row(*_measured_line(item))
        console.print(table)
    _print_refused(
        [
            *((str(item.model), item.matrix, item.reason, item.message) for item in result.refused),
            *(
                (item.target.identity.repo, item.target.identity.matrix, item.reason, item.message)
                for item in result.failed
            ),
        ],
        console,
    )
    failed = len(result.refused) + len(result.failed)
    console.print(
        f"{len(result.measured)} measured, {len(result.unchanged)} unchanged, {failed} failed"
        + (" — interrupted; run again for the rest" if result.interrupted else "")
    )


def size(count: int) -> str:
    """Bytes for a person, in powers of ten."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _measured_line(item: Delivered) -> tuple[str, ...]:
    identity, head = item.target.identity, item.headline
    rows, dims = item.target.spec.shape
    return (
        escape(identity.repo),
        identity.matrix,
        f"{rows:,} × {dims:,}",
        head.dtype,
        str(head.black_hole_count),
        f"{head.dead_count:,}",
        "·" if head.centroid_ratio is None else f"{head.centroid_ratio:.4f}",
        "·" if head.dead_live_angle_deg is None else f"{head.dead_live_angle_deg:.1f}",
        size(item.fetched_bytes) if item.fetched_bytes else "local",
        size(item.target.repo_bytes),
        f"{item.elapsed_s:.1f}",
    )


def _explanation(target: Target) -> str:
    identity = target.identity
    stated = {True: "tied", False: "untied", None: "nothing about tying"}[identity.tie_stated]
    return (
        f"{escape(identity.repo)}: [bold]{escape(target.spec.name)}[/] because of {target.rule}; "
        f"the config says {stated}; family {identity.family or 'unknown'}"
        + (f" by {identity.family_by}" if identity.family_by else "")
    )


def _print_refused(refused: Iterable[tuple[str, str, str, str]], console: Console) -> None:
    lines = list(refused)
    if not lines:
        return
    table = _table("not measured", "reason", "found", "what to do")
    for model, matrix, reason, message in lines:
        name = model if matrix == "output" else f"{model} ({matrix})"
        table.add_row(escape(name), f"[red]{reason}[/]", escape(message), REASONS[reason])
    console.print(table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = {"holes", "dead", "ratio", "angle °", "fetched", "s", "read", "of", "memory", "V × D"}
    for name in names:
        right = name in numeric
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table
