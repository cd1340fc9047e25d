"""Expected failures, and the reason under which each is recorded.

SurveyError                 one model cannot be measured; `reason` is a column of `attempts`
├── NotOffered              the Hub refuses the repository or the file: gated, unauthorised,
│                           not-found, revision-not-found, disabled
├── NotThere                not-a-model, no-config, no-safetensors, no-head, unknown-head,
│                           split-head, quantised-head
├── BrokenFile              bad-header, bad-pickle, index-mismatch, unsupported-dtype
├── Unreachable             network, rate-limited, timeout
│   ├── NoHub               network: nothing answers at the endpoint, so no model can be read
│   └── NotTheHubs          network: the answer is not one of the Hub's
├── NotRunnable             infeasible, node-lost, out-of-memory, not-on-cluster, interrupted
└── CommitError             commit-failed
UsageError                  the command cannot start: exit code 2
└── CatalogInUse            another run holds the catalog: exit code 3
"""

from __future__ import annotations

from survey.process.redaction import redacted

REASONS: dict[str, str] = {
    "gated": "accept the model's terms on its page (its owner may have to approve), and set HF_TOKEN",
    "unauthorised": "the token is missing, invalid or lacks permission: `hf auth login`, or set HF_TOKEN",
    "not-a-model": "write org/name, org/name@revision, the URL of a model's page or a folder in the line",
    "not-found": "check the spelling or the path; a private repository needs a token that may read it",
    "revision-not-found": "check the branch, tag or commit after the @",
    "disabled": "the Hub has disabled the repository: remove it from the list, or survey a copy",
    "no-config": "add a valid config.json (or Mistral's params.json) to the checkpoint",
    "no-safetensors": "convert the weights to safetensors; of several models, name one: `org/name:FOLDER`",
    "no-head": "`survey plan --explain` lists its tensors; `--matrix input` may measure its embedding",
    "unknown-head": "export the model with transformers, or report the tensor that the message names",
    "split-head": "merge the pieces into one tensor, or survey the model from which this one was made",
    "quantised-head": "the matrix is stored quantised; survey the original model",
    "bad-header": "the file is damaged; download or export it again",
    "bad-pickle": "the file is damaged or holds more than tensors; convert it to safetensors",
    "index-mismatch": "index and files disagree; export the checkpoint again",
    "unsupported-dtype": "only F64, F32, F16, BF16, FP8 (E4M3, E5M2) and types of GGUF are measured",
    "not-on-cluster": "only the driver's machine has this folder: use the serial executor there, or the Hub",
    "rate-limited": "the Hub asks to slow down; run again later, or set HF_TOKEN",
    "network": "run again if a connection broke; else check what the message names: endpoint, mirror, proxy",
    "timeout": "raise --timeout, or run again",
    "out-of-memory": "run on a machine with more memory",
    "node-lost": "the worker died; run again",
    "infeasible": "no node has enough memory or the requested device; use a larger machine",
    "commit-failed": "the catalog cannot be written; check disk space and permissions",
    "interrupted": "run again: finished models are kept",
    "internal": "a bug in this program; please report it with the message",
}


_REMEDY = " → "  # before a message's own remedy, and nowhere else in it
PROBLEM_CHARS = 2000  # a name in a hostile file may have millions


def printable(text: str) -> str:
    """Untrusted text with its control and direction characters escaped, which could fake output."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def storable(text: str) -> str:
    """Text that can be encoded as UTF-8: JSON and file names may hold lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


class SurveyError(Exception):
    """One model cannot be measured.

    reason: a key of REASONS. where: the file, URL or folder. problem: the actual and the expected state.
    remedy: what to do, if the advice of REASONS does not fit.
    """

    default_remedy = ""

    def __init__(self, reason: str, where: str, problem: str, remedy: str = "") -> None:
        where, problem, remedy = _clean(where), _clean(problem), _clean(remedy or self.default_remedy)
        super().__init__(reason, where, problem, remedy)  # args must rebuild it across processes
        assert reason in REASONS, reason
        self.reason, self.where, self.problem, self.remedy = reason, where, problem, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"{_REMEDY}{self.remedy}" if self.remedy else "")


def _clean(text: str) -> str:
    # Redacted before it is cut: half a token would not be recognised as one.
    text = redacted(storable(text[: 4 * PROBLEM_CHARS]))[:PROBLEM_CHARS]
    return text.replace(_REMEDY.strip(), "->")


def problem_and_remedy(reason: str, message: str) -> tuple[str, str]:
    """The problem in a failure's message, and what to do: its own remedy, else that of its reason."""
    problem, arrow, remedy = message.rpartition(_REMEDY)
    if arrow and reason != "internal":  # a traceback may hold anything
        return problem, remedy
    return message, REASONS.get(reason, "of a later version of this program")


class NotOffered(SurveyError):
    """The Hub refuses the repository or the file."""


class NotThere(SurveyError):
    """The checkpoint does not hold the requested matrix in a form that can be measured."""


class BrokenFile(SurveyError):
    """A file contradicts itself, its index or its format."""


class Unreachable(SurveyError):
    """The server could not be reached, or not in time."""


class NoHub(Unreachable):
    """Nothing answers at the endpoint, or it cannot be reached: this holds for every model."""


class NotTheHubs(Unreachable):
    """The answer is not one of the Hub's, such as a login page; a retry would not help."""

    default_remedy = "check --endpoint and HF_ENDPOINT, and whether a proxy answers in the Hub's place"


class NotRunnable(SurveyError):
    """The available machines could not finish the task."""


class CommitError(SurveyError):
    """A finished measurement could not be written to the catalog."""


class UsageError(Exception):
    """The command cannot start with these arguments; the message says what to do instead."""


class CatalogInUse(UsageError):
    """Another run holds the catalog's lock."""
