"""A local Hub with one model of a few bytes; of its two users, one may read what is closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub.utils import close_session, disable_progress_bars
from support.hub_client import MODEL

from jobs.demo.hub.local_hub import LocalHub

MEMBER = {"member": frozenset({"org/gated", "org/private"}), "stranger": frozenset[str]()}


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    disable_progress_bars()
    with LocalHub(users=MEMBER) as hub:
        hub.add_repo("org/model", MODEL)
        yield hub
        close_session()
