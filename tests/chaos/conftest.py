"""How large the runs of this folder are: seconds each in `make test`, as large as the promises in `make test-chaos`."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def at_length() -> bool:
    """Whether this is a run at full length."""
    return os.environ.get("CLAUDE_GRPC_TEST_LONG") == "1"
