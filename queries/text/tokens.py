"""The tokens of one model: those in a class of dead rows, or all."""

from __future__ import annotations

from catalog.read.reader import Answer, Reader
from queries.text.model_rows import missing_model
from survey.errors import UsageError, printable
from survey.records.catalog_rows import TOKEN_CLASSES

ANY, ALL = "any", "all"
CHOICES = (ANY, ALL, *TOKEN_CLASSES)
_OF_ONE = "\n-- tokens of: select $repo as repo, $sha as sha, $matrix as matrix\n"
_TOKENS = f"""
{_OF_ONE}
from (
    select *, list_filter(
        [
            if(identical, 'identical', null),
            if(zero, 'zero', null),
            if(near_zero, 'near_zero', null),
            if(nonfinite, 'nonfinite', null),
            if(frozen, 'frozen', null),
            if(undertrained, 'undertrained', null),
            if(phantom, 'phantom', null),
            if(unreachable, 'unreachable', null)
        ],
        lambda name: name is not null
    ) as classes
    from tokens
    where repo = $repo and sha = $sha and matrix = $matrix
)
where case $class
    when 'all' then true
    when 'any' then len(classes) > 0
    else list_contains(classes, $class)
end
order by token_id
"""
TOKENS = "select token_id, text, classes, norm, black_hole, reach" + _TOKENS
TOKEN_IDS = "select token_id" + _TOKENS
_KNOWN = f"""
{_OF_ONE}
select
    count(*) as rows, count(zero) as zero, count(near_zero) as near_zero, count(identical) as identical,
    count(nonfinite) as nonfinite, count(frozen) as frozen, count(undertrained) as undertrained,
    count(phantom) as phantom, count(reach) as reach
from tokens
where repo = $repo and sha = $sha and matrix = $matrix
"""
_MATRICES = "select distinct matrix from model_rows($model) order by matrix"
_KEY = "select repo, sha from model_at($model, $matrix)"
_NOTES = (
    "select tokenizer_note, undertrained_note from measured_rows "
    "where repo = $repo and sha = $sha and matrix = $matrix"
)


def token_parameters(reader: Reader, model: str, token_class: str, matrix: str) -> dict[str, str]:
    """The parameters of TOKENS and TOKEN_IDS for a model's tokens of one class, of `any`, or `all`.

    Raises UsageError if the catalog does not hold the model, or does not know which tokens are of the class.
    """
    repo, sha = _row(reader, model, matrix)
    key = {"repo": repo, "sha": sha, "matrix": matrix}
    _check_known(reader, key, token_class)
    return {**key, "class": token_class}


def quoted(answer: Answer) -> Answer:
    """The answer for people: texts in quotes, so that spaces show, and escaped, as they could fake output."""
    index = answer.names.index("text")
    rows = [
        (*row[:index], None if row[index] is None else f'"{printable(row[index])}"', *row[index + 1 :])
        for row in answer.rows
    ]
    return Answer(answer.names, answer.types, rows)


def _row(reader: Reader, model: str, matrix: str) -> tuple[str, str]:
    """Repository and commit of the row that a text means. Raises UsageError if there is none."""
    matrices = [name for (name,) in reader.ask(_MATRICES, {"model": model}).rows]
    if not matrices:
        raise UsageError(missing_model(reader, model))
    if matrix not in matrices:
        raise UsageError(f"{printable(model)} was measured for --matrix {matrices[0]} only")
    ((repo, sha),) = reader.ask(_KEY, {"model": model, "matrix": matrix}).rows
    return repo, sha


def _check_known(reader: Reader, key: dict[str, str], token_class: str) -> None:
    answer = reader.ask(_KNOWN, key)
    counts = dict(zip(answer.names, answer.rows[0], strict=True))
    column = TOKEN_CLASSES.get(token_class)
    repo = printable(key["repo"])
    if counts["rows"] == 0:
        raise UsageError(f"{repo} has no per-token table: `survey run {repo}` without --no-tokens makes it")
    if column is None or counts[column]:
        return
    ((tokenizer_note, undertrained_note),) = reader.ask(_NOTES, key).rows
    notes = {"phantom": tokenizer_note, "reach": tokenizer_note, "undertrained": undertrained_note}
    note = notes.get(column)
    why = note or "an older version measured it"
    more = "" if note else f"; `survey run {repo} --resurvey` measures it again"
    raise UsageError(f"which tokens of {repo} are {token_class} is not known: {printable(why)}{more}")
