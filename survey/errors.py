"""Failures that we expect, and the reason under which each is recorded.

SurveyError                 one model cannot be measured; `reason` is a column of `attempts`
├── NotOffered              the repository does not give the file away: gated, unauthorised,
│                           not-found, revision-not-found, disabled
├── NotThere                not-a-model, no-config, no-safetensors, no-head, unknown-head,
│                           split-head, quantised-head
├── BrokenFile              bad-header, bad-pickle, index-mismatch, unsupported-dtype
├── Unreachable             network, rate-limited, timeout
│   ├── NoHub               network: nothing answers at the endpoint, so no model can be read
│   └── NotTheHubs          network: what answers does not speak as the Hub does
├── NotRunnable             infeasible, node-lost, out-of-memory, not-on-cluster, interrupted
└── CommitError             commit-failed
UsageError                  the command cannot start: exit code 2
└── CatalogInUse            another run holds the catalog: exit code 3
"""

from __future__ import annotations

from survey.process.redaction import redacted

REASONS: dict[str, str] = {
    "gated": "accept the model's terms on its page, to which its owner may have to agree, and set HF_TOKEN",
    "unauthorised": "the token is missing, not valid or not enough: `hf auth login`, or set HF_TOKEN",
    "not-a-model": "write org/name, org/name@revision, the URL of a model's page or a folder into the line",
    "not-found": "check the spelling or the path; a private repository needs a token that may read it",
    "revision-not-found": "check the branch, tag or commit after the @",
    "disabled": "the Hub has withdrawn the repository: take it off the list, or survey a copy",
    "no-config": "add a config.json that can be read (or Mistral's params.json) to the checkpoint",
    "no-safetensors": "convert the weights to safetensors; of several models name one: `org/name:FOLDER`",
    "no-head": "`survey plan --explain` shows what there is; `--matrix input` may measure its embedding",
    "unknown-head": "export the model as transformers does, or report the tensor that the message names",
    "split-head": "merge the pieces into one tensor, or survey the model that this was made from",
    "quantised-head": "the matrix is stored quantised; survey the original model",
    "bad-header": "the file is damaged; fetch or export it again",
    "bad-pickle": "the file is damaged or holds more than tensors; convert it to safetensors",
    "index-mismatch": "index and files disagree; export the checkpoint again",
    "unsupported-dtype": "only F64, F32, F16, BF16 and FP8 (E4M3, E5M2) are measured",
    "not-on-cluster": "only the driver's machine can measure a folder: run there, or use the Hub",
    "rate-limited": "the Hub asks to slow down; run again later, or set HF_TOKEN",
    "network": "run again if a connection broke; else mend what the message names: endpoint, mirror, proxy",
    "timeout": "raise --timeout, or run again",
    "out-of-memory": "run on a machine with more memory",
    "node-lost": "the worker died; run again",
    "infeasible": "no machine has the memory or the device that is asked for: run where there is more",
    "commit-failed": "the catalog cannot be written; look at disk space and permissions",
    "interrupted": "run again: what was finished is kept",
    "internal": "a defect of this program; please report it with the message",
}


_REMEDY = " → "  # before a message's own remedy, and nowhere else in it
PROBLEM_CHARS = 2000  # a name in a hostile file may have millions


def printable(text: str) -> str:
    """Text from outside without control and direction characters, which could fake output."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def storable(text: str) -> str:
    """Text that can be written as UTF-8: JSON and file names may hold halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


class SurveyError(Exception):
    """One model cannot be measured.

    reason: a key of REASONS. where: the file, URL or folder. problem: what was found and what
    was expected. remedy: what to do about it, where REASONS does not fit.
    """

    usual_remedy = ""

    def __init__(self, reason: str, where: str, problem: str, remedy: str = "") -> None:
        where, problem, remedy = _kept(where), _kept(problem), _kept(remedy or self.usual_remedy)
        super().__init__(reason, where, problem, remedy)  # args must rebuild it across processes
        assert reason in REASONS, reason
        self.reason, self.where, self.problem, self.remedy = reason, where, problem, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"{_REMEDY}{self.remedy}" if self.remedy else "")


def _kept(text: str) -> str:
    # Redacted before it is cut: half a token would no longer be known as one.
    text = redacted(storable(text[: 4 * PROBLEM_CHARS]))[:PROBLEM_CHARS]
    return text.replace(_REMEDY.strip(), "->")


def in_two(reason: str, message: str) -> tuple[str, str]:
    """What a failure's message says was found, and what to do: its own remedy, else that of its reason."""
    problem, arrow, remedy = message.rpartition(_REMEDY)
    if arrow and reason != "internal":  # a traceback may hold anything
        return problem, remedy
    return message, REASONS.get(reason, "of a later version of this program")


class NotOffered(SurveyError):
    """The repository does not give the file away."""


class NotThere(SurveyError):
    """The checkpoint holds nothing that could be measured as asked."""


class BrokenFile(SurveyError):
    """A file contradicts itself, its index or its format."""


class Unreachable(SurveyError):
    """The server could not be reached, or not in time."""


class NoHub(Unreachable):
    """Nothing answers at the endpoint, or no way leads there: it is so for every model."""


class NotTheHubs(Unreachable):
    """What answers does not speak as the Hub does, such as a login page; asking again changes nothing."""

    usual_remedy = "check --endpoint and HF_ENDPOINT, and what may answer in the Hub's place, as a proxy does"


class NotRunnable(SurveyError):
    """The machines at hand could not finish the task."""


class CommitError(SurveyError):
    """The catalog could not take a finished measurement."""


class UsageError(Exception):
    """The command cannot start as given; the message says what to do instead."""


class CatalogInUse(UsageError):
    """Another run holds the catalog's lock."""
