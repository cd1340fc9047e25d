"""The settings of a run: where the Hub is, how often a request is tried again, what is measured with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a busy or broken server is asked again, and how long we wait in between.

    tries: attempts in a row without a single byte of progress.
    """

    tries: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """What the server asks for, or twice as long after each failure; jitter on top."""
        wanted = self.first_wait_s * 2 ** (failures - 1) if asked_s is None else asked_s
        return min(wanted * random.uniform(1.0, 1.25), self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the Hub and how to measure; the same in this process and in a Ray worker.

    timeout_s: deadline of one model, from its start. threads: of the CPU's arithmetic; None takes
    one for each CPU that the process may use. token: never printed (repr is off).
    """

    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    connections: int = 16  # at most; as many are used as bring the bytes faster
    device: str = "auto"
    threads: int | None = None
    tokens: bool = True
    timeout_s: float = 1800.0
    patience: RetryPolicy = RetryPolicy()
    run_id: str = "notebook"
    reference: ReferenceTokens | None = None  # known unused tokens to which distances are measured


OWN_UNUSED = "own"


@dataclass(frozen=True, slots=True)
class ReferenceTokens:
    """entries: token ids, and texts of tokens; None: the tokenizer's own unused names."""

    entries: tuple[int | str, ...] | None = None

    @property
    def asks_texts(self) -> bool:
        """Whether ids alone do not say which rows are meant."""
        return self.entries is None or any(isinstance(entry, str) for entry in self.entries)
