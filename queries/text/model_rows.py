"""The rows of one model, and the message if the catalog does not hold it."""

from __future__ import annotations

from catalog.read.reader import Reader
from survey.errors import printable

MODEL_ROWS = "from model_rows($model) order by measured_at desc, sha, matrix"


def missing_model(reader: Reader, model: str) -> str:
    """The message about a model that the catalog does not hold, with the nearest names."""
    ((message,),) = reader.ask("select not_there($model)", {"model": model}).rows
    return printable(str(message))
