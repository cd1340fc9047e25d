"""The settings of a run: the Hub's address, the retry policy, the device, the reference tokens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SpectrumChoice = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request to a busy or broken server is repeated, and the waiting time in between.

    tries: attempts in a row without a single byte of progress.
    """

    tries: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0

    def wait_s(self, failures: int, server_wait_s: float | None) -> float:
        """Seconds: what the server asks for, else twice as long after each failure; plus jitter."""
        wait_s = self.first_wait_s * 2 ** (failures - 1) if server_wait_s is None else server_wait_s
        return min(wait_s * random.uniform(1.0, 1.25), self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the Hub and how to measure; the same in this process and in a Ray worker.

    timeout_s: deadline of one model, from its start. threads: CPU threads; None is one for each CPU that the
    process may use. device_reason: why the device was chosen, if it was. token: never printed (repr is off).
    spectrum: `auto` computes spectra if there is a GPU for them. spectra: what the executor made of that.
    """

    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    connections: int = 16  # at most; fewer are used if more bring no more bytes
    device: str = "auto"
    device_reason: str | None = None
    threads: int | None = None
    spectrum: SpectrumChoice = "off"
    spectra: SpectraDevice | None = None
    tokens: bool = True
    timeout_s: float = 1800.0
    retry_policy: RetryPolicy = RetryPolicy()
    run_id: str = "notebook"
    reference: ReferenceTokens | None = None  # known unused tokens to which distances are measured
    tokenizer_tables: TokenizerTablesPlace | None = None  # that all models share; None: each process its own


@dataclass(frozen=True, slots=True)
class SpectraDevice:
    """What computes the spectrum of a task's matrix. name: None if nothing does, for this reason."""

    name: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TokenizerTablesPlace:
    """Where the tables of a run's tokenizers are shared.

    catalog: it keeps them. locks: a folder of the driver's machine, gone after the run. renew: a table that
    was named before this run counts as none.
    """

    catalog: str
    locks: Path
    renew: bool = False


OWN_UNUSED = "own"


@dataclass(frozen=True, slots=True)
class ReferenceTokens:
    """Tokens that are known to be unused. entries: ids and texts; None: tokenizers' names for them."""

    entries: tuple[int | str, ...] | None = None

    @property
    def asks_texts(self) -> bool:
        """Whether texts of tokens are needed to find the rows."""
        return self.entries is None or any(isinstance(entry, str) for entry in self.entries)
