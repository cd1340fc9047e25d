"""What DuckDB's errors mean: some are told apart by their messages alone."""

from __future__ import annotations

import duckdb


def first_line(error: duckdb.Error) -> str:
    """The first line of the message."""
    return str(error).strip().partition("\n")[0]


def plain_text(error: duckdb.Error) -> str:
    """The message for a person; of an error in Python code that DuckDB called, the last line."""
    if isinstance(error, duckdb.OutOfMemoryException):  # what DuckDB advises are settings, which are locked
        return f"{first_line(error)}; ask for less at once"
    if is_defect(error):  # what follows is a trace of DuckDB's own calls
        return f"{first_line(error)}; this is a defect of DuckDB: write it in another way"
    text = str(error).strip().removeprefix("Invalid Input Error: ")
    if "Traceback (most recent call last)" in text:
        return text.split("\n\nLINE ")[0].strip().rpartition("\n")[2]
    return text


def is_defect(error: duckdb.Error) -> bool:
    """Whether DuckDB found itself in a state that it excludes; its connection may answer nothing more."""
    return isinstance(error, duckdb.InternalException | duckdb.FatalException)


def is_missing_column(error: duckdb.Error) -> bool:
    """Whether a file lacks a column of the first file: only the message says so."""
    return "schema mismatch" in str(error)


def is_about_a_file(error: duckdb.Error) -> bool:
    """Whether the content of a file caused the error: bare Errors, too, as damaged copies cause."""
    return (
        type(error) is duckdb.Error
        or isinstance(error, duckdb.IOException)
        or "Failed to read file" in str(error)
        or "encrypted" in str(error)
        or "Incorrect stats size" in str(error)
        or "Allocation failure" in str(error)  # for as many row groups as a footer claims
    )
