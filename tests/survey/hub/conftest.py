"""A local Hub with one model, and two users of whom one may read what is closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub.utils import close_session
from support.hub_model import MODEL, STRANGER, TOKEN

from jobs.demo.hub.local_hub import LocalHub


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    users = {TOKEN: frozenset({"org/gated", "org/private"}), STRANGER: frozenset[str]()}
    with LocalHub(users=users, large_file_bytes=10 << 20) as served:
        served.add_repo("org/model", MODEL)
        yield served
        close_session()
