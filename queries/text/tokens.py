"""The tokens of one model: those in a class of dead rows, or all."""

from __future__ import annotations

from catalog.read.reader import Answer, Reader
from queries.text.card import card_rows, not_there
from survey.errors import UsageError, printable

# By name: the expression over `tokens`, and what must be known for it.
CLASSES = {
    "identical": "identical",
    "zero": "zero",
    "near_zero": "near_zero",
    "nonfinite": "nonfinite",
    "frozen": "frozen",
    "undertrained": "undertrained",
    "phantom": "phantom",
    "unreachable": "reach",
}
ANY, ALL = "any", "all"
CHOICES = (ANY, ALL, *CLASSES)
_LISTED = ", ".join(f"if({name}, '{name}', NULL)" for name in CLASSES)


def tokens_question(reader: Reader, model: str, wanted: str, matrix: str) -> tuple[str, dict[str, str]]:
    """The question for a model's tokens of one class, of any, or all, and its parameters.

    Raises UsageError where the model is not in the catalog, or where its class is not known.
    """
    repo, sha = _row(reader, model, matrix)
    key = {"repo": repo, "sha": sha, "matrix": matrix}
    _check_known(reader, key, wanted)
    chosen = {ANY: "len(classes) > 0", ALL: "true"}.get(wanted, wanted)
    return (
        "SELECT token_id, text, classes, norm, black_hole, reach FROM ("
        f"SELECT *, list_filter([{_LISTED}], lambda name: name IS NOT NULL) AS classes FROM tokens "
        "WHERE repo = $repo AND sha = $sha AND matrix = $matrix) "
        f"WHERE {chosen} ORDER BY token_id",
        key,
    )


def ids_only(question: str) -> str:
    return f"SELECT token_id FROM ({question}) ORDER BY token_id"


def quoted(answer: Answer) -> Answer:
    """The answer for people: texts in quotes, so that their spaces show; nothing could fake output."""
    place = answer.names.index("text")
    rows = [
        (*row[:place], None if row[place] is None else f'"{printable(row[place])}"', *row[place + 1 :])
        for row in answer.rows
    ]
    return Answer(answer.names, answer.types, rows)


def _row(reader: Reader, model: str, matrix: str) -> tuple[str, str]:
    """Repository and commit of the row that the model's name stands for."""
    question, parameters = card_rows(reader, model)
    found = reader.ask(f"SELECT repo, sha, matrix FROM ({question})", parameters).rows
    if not found:
        raise UsageError(not_there(reader, model))
    for repo, sha, name in found:
        if name == matrix:
            return repo, sha
    raise UsageError(f"{printable(model)} was measured for --matrix {found[0][2]} only")


def _check_known(reader: Reader, key: dict[str, str], wanted: str) -> None:
    needed = CLASSES.get(wanted, "token_id")
    where = "WHERE repo = $repo AND sha = $sha AND matrix = $matrix"
    ((rows, known),) = reader.ask(f"SELECT count(*), count({needed}) FROM tokens {where}", key).rows
    repo = printable(key["repo"])
    if rows == 0:
        raise UsageError(f"{repo} has no per-token table: `survey run {repo}` without --no-tokens makes it")
    if known == 0:
        ((note,),) = reader.ask(f"SELECT tokenizer_note FROM measured_rows {where}", key).rows
        why = f"{note}" if needed in ("phantom", "reach") and note else "an older version measured it"
        more = "" if why == note else f"; `survey run {repo} --resurvey` measures it again"
        raise UsageError(f"which tokens of {repo} are {wanted} is not known: {printable(why)}{more}")
