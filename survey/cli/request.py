"""The models and the settings of `survey run` and `survey plan`, from the options that both share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from survey.cli.options import settings_from_options
from survey.cli.streams import say
from survey.errors import UsageError
from survey.process.bounded_file import read_named

if TYPE_CHECKING:
    from jobs.run.request import RunRequest
    from survey.records.settings import ReferenceTokens, Settings
    from survey.records.target import MatrixChoice

LARGEST_REFERENCE_BYTES = 64 << 20  # a token a line: a whole vocabulary has 5 MB


def read_request(
    models: Sequence[str],
    matrix: MatrixChoice,
    endpoint: str | None,
    connections: int | None,
    *,
    no_tokens: bool,
) -> tuple[RunRequest, Settings]:
    """The request and its settings, from the options of `models_options`. Raises UsageError.

    Reads the lists of models; names on stderr the lines that it leaves out.
    """
    from jobs.planning.model_list import read_models
    from jobs.run.clock import new_run_id
    from jobs.run.request import RunRequest

    if "-" in models and sys.stdin.isatty():
        say("type one model a line, then Ctrl-D")
    settings = settings_from_options(endpoint, connections)
    listed = read_models(models, Path.cwd(), settings.endpoint)
    for note in (*listed.notes, *(f"{twice}; measured once" for twice in listed.duplicates)):
        say(note)
    request = RunRequest(listed.models, matrix, connections=connections)
    return request, replace(settings, tokens=not no_tokens, run_id=new_run_id())


def reference_tokens(given: str | None) -> ReferenceTokens | None:
    """The unused tokens that --reference-tokens names: `own`, or a file. Raises UsageError."""
    from survey.records.settings import OWN_UNUSED, ReferenceTokens
    from survey.vocabulary.unused_tokens import parse_reference

    if given is None or given == OWN_UNUSED:
        return None if given is None else ReferenceTokens()
    try:
        reference = parse_reference(read_named(Path(given), LARGEST_REFERENCE_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--reference-tokens {given}: write `own` or name a file: {error}") from error
    if not reference.entries:
        raise UsageError(f"--reference-tokens {given}: names no token: write one id or text on each line")
    return reference
