"""What the text of a statement says before DuckDB binds it: its names, and the token tables that it reads."""

from __future__ import annotations

import re

from catalog.files import TOKENS
from catalog.read.statement_limits import LEXEMES
from survey.errors import UsageError

# Quotes that the lexemes do not know, in which what looks like a comment may be none.
_OTHER_QUOTES = re.compile(r"\$\w*\$|\\'")
_TOKENS_OF = re.compile(r"--\s*tokens of:(.*)", re.IGNORECASE)


def names_in(sql: str) -> set[str]:
    """Every word of a statement in lower case, without those of its comments if these are certain."""
    code = sql
    if not _OTHER_QUOTES.search(sql):
        code = LEXEMES.sub(lambda lexeme: " " if _is_comment(lexeme.group()) else lexeme.group(), sql)
    return set(re.findall(r"\w+", code.lower()))


def token_table_keys(sql: str) -> str | None:
    """The keys of the rows whose per-token tables a statement reads, as a statement; None if it reads all.

    A query says so in comments `-- tokens of: SELECT repo, sha, matrix …`, of which each adds rows. Raises
    UsageError if such a statement itself reads tokens.
    """
    comments = filter(_is_comment, (lexeme.group() for lexeme in LEXEMES.finditer(sql)))
    parts = [match[1].strip() for comment in comments if (match := _TOKENS_OF.match(comment))]
    if not parts:
        return None
    keys = " union all ".join(f"select repo, sha, matrix from ({part})" for part in parts)
    if TOKENS in names_in(keys):
        raise UsageError("`-- tokens of:` selects the rows whose tokens are read, so it cannot read tokens")
    return keys


def _is_comment(lexeme: str) -> bool:
    return lexeme[:2] in ("--", "/*")
