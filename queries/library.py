"""The named queries: one `.sql` file each; line 1 is its help, `-- params:` its parameters.

To add one: a file in `sql/` that names its columns and orders them totally.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import duckdb

from catalog.read.reader import Answer
from catalog.read.statement_limits import refuse_oversized
from queries.description import QUERY_S, BoundedDescriber
from survey.errors import UsageError
from survey.process.bounded_file import read_regular

OWN_QUERIES = Path(__file__).parent / "sql"
LARGEST_FILE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Query:
    """A named query. parameters: name -> default as written, or None if a value is required."""

    name: str
    help: str
    parameters: Mapping[str, str | None]
    sql: str

    def bind(self, given: Mapping[str, str]) -> dict[str, str | int | float]:
        """The values of all parameters. A parameter whose default is a number takes numbers.

        Raises UsageError naming parameters that are unknown, missing or of the wrong type.
        """
        unknown = sorted(given.keys() - self.parameters.keys())
        missing = sorted(
            name for name, default in self.parameters.items() if default is None and name not in given
        )
        if unknown or missing:
            problems = [f"unknown: {', '.join(unknown)}"] if unknown else []
            problems += [f"missing: {', '.join(missing)}"] if missing else []
            raise UsageError(
                f"query {self.name}: parameters {'; '.join(problems)}. It takes {self.signature}"
            )
        return {
            name: self._value(name, given.get(name, default or ""), default)
            for name, default in self.parameters.items()
        }

    @property
    def signature(self) -> str:
        """The parameters as a person types them."""
        shown = [
            f"--param {name}={'…' if default is None else default}"
            for name, default in self.parameters.items()
        ]
        return " ".join(shown) or "no parameters"

    def _value(self, name: str, text: str, default: str | None) -> str | int | float:
        kind = type(_number(default)) if default is not None else str
        if kind is str:
            return text
        try:
            return kind(text)
        except ValueError as error:
            raise UsageError(
                f"query {self.name}: {name} is {text!r}, expected a number such as {default}"
            ) from error


def load(folders: Sequence[Path] = ()) -> dict[str, Query]:
    """All queries by name: ours, then those of the user's folders, which may replace ours.

    Raises UsageError if a folder does not exist, or if a file does not declare the parameters that it uses.
    """
    parser = duckdb.connect()  # one for all files: a connection takes as long as reading ten of them
    return {name: parse(path, parser) for name, path in _files(folders).items()}


def find(name: str, folders: Sequence[Path] = ()) -> Query:
    """The query of this name; other files are not read. Raises UsageError if there is none, and as `load`."""
    path = _files(folders).get(name)
    return pick(load(folders), name) if path is None else parse(path, duckdb.connect())


def _files(folders: Sequence[Path]) -> dict[str, Path]:
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no such folder of queries: {folder}")
    return {path.stem: path for folder in (OWN_QUERIES, *folders) for path in sorted(folder.glob("*.sql"))}


def parse(path: Path, parser: duckdb.DuckDBPyConnection) -> Query:
    """Read one file. Raises UsageError if its declared parameters are not those that DuckDB's parser sees."""
    try:
        sql = read_regular(path, LARGEST_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a query: {error}") from error
    first, _, rest = sql.partition("\n")
    if not first.startswith("-- "):
        raise UsageError(f"{path}: line 1 is its help text and must begin with `-- `")
    declared = re.match(r"-- params:(.*)", rest)
    words = [word.strip() for word in declared[1].split(",")] if declared else []
    parameters = {
        name.strip(): default.strip() if equals else None
        for name, equals, default in (word.partition("=") for word in words)
    }
    try:
        refuse_oversized(sql)
        statements = parser.extract_statements(sql)
    except (duckdb.Error, UsageError) as error:
        raise UsageError(f"{path}: {error}") from error
    used = {name for statement in statements for name in statement.named_parameters}
    if used != parameters.keys():
        raise UsageError(f"{path}: declares the parameters {sorted(parameters)}, but uses {sorted(used)}")
    return Query(path.stem, first.removeprefix("-- ").strip(), parameters, sql)


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def query_list(library: Mapping[str, Query], seconds: float = QUERY_S) -> Answer:
    """Every query with its help, its parameters, and the columns of its answer.

    The columns come from binding it to empty views, so no catalog is read. seconds: for each.
    """
    rows = []
    with BoundedDescriber(seconds) as describer:
        for query in library.values():
            values = query.bind({name: "" for name, default in query.parameters.items() if default is None})
            try:
                columns = ", ".join(describer.columns(query.sql, values))
            except UsageError as error:
                columns = f"cannot be asked: {str(error).splitlines()[0]}"
            rows.append((query.name, query.help, query.signature, columns))
    return Answer(["query", "answers", "parameters", "columns"], ["VARCHAR"] * 4, list(rows))


def pick(library: Mapping[str, Query], name: str) -> Query:
    """The query of this name. Raises UsageError that lists all names if there is none."""
    if name not in library:
        close = get_close_matches(name, library, n=1)
        meant = f"did you mean {close[0]}? There are" if close else "there are"
        raise UsageError(f"no query {name!r}; {meant} {', '.join(sorted(library))}")
    return library[name]
