"""The README says what the program does: its samples are run, its tables are generated."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import readme
from conftest import Ran

from jobs.demo.show import prepared
from queries.library import load
from survey.cli import cli
from survey.measures import MEASURES

TEXT = readme.README.read_text()


@pytest.mark.parametrize("name", readme.GENERATED)
def test_a_generated_part_is_what_the_code_makes(name: str) -> None:
    """`make docs` writes it anew."""
    assert readme.steady(readme.section(TEXT, name)) == readme.steady(readme.GENERATED[name]())


def test_every_command_and_query_is_named() -> None:
    for name in (*cli.commands, *load()):
        assert re.search(rf"survey {name}\b|`{name}`", TEXT), name


def test_every_measures_columns_are_in_the_dictionary() -> None:
    columns = readme.section(TEXT, "columns")
    for measure in MEASURES:
        group = measure.of.__annotations__["return"]
        from survey import records

        for field in getattr(records, group).__dataclass_fields__:
            nested = field in ("centroid", "dead_centroid", "live_centroid", "black_holes")
            assert nested or field.startswith("exponents_") or f"`{field}`" in columns, field


def test_every_sql_example_runs(survey: Callable[..., Ran], tmp_path: Path) -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    with prepared(tmp_path / "demo") as (endpoint, _):
        survey(
            "run",
            tmp_path / "demo" / "models.txt",
            "--catalog",
            "c",
            "--endpoint",
            endpoint,
            "--executor",
            "serial",
        )
    statements = [statement for statement in block.split(";") if statement.strip()]
    assert len(statements) == 4
    for statement in statements:
        ran = survey("sql", statement, "--catalog", "c")
        assert ran.code == 0, ran.err
        assert "(no rows)" not in ran.out
