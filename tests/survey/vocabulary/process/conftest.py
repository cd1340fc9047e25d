"""No server of tokenizers is shared between tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from survey.vocabulary.process import isolation


@pytest.fixture(autouse=True)
def _own_servers() -> Iterator[None]:
    """Each test starts without a server, and leaves none."""
    isolation.close()
    yield
    isolation.close()
