"""How properties are run: on a few examples that stay the same, or, in the long suite, on many that are always new."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random, SystemRandom

from hypothesis import HealthCheck, settings

__all__ = ["few", "properties", "run_seeded"]

_EXAMPLES = int(os.environ.get("CLAUDE_GRPC_TEST_EXAMPLES", "0"))
_SEED = int(os.environ.get("CLAUDE_GRPC_TEST_SEED", "0")) or (SystemRandom().getrandbits(48) if _EXAMPLES else 1)

properties = settings(
    max_examples=_EXAMPLES or 100,
    derandomize=not _EXAMPLES,
    print_blob=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
"""For a property whose examples are cheap to make."""

few = settings(max_examples=10, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
"""For one that ``run_seeded`` runs as well: what Hypothesis finds, it also makes small."""


def run_seeded(holds: Callable[[Random], None]) -> None:
    """Run a property whose examples are large, and cost Hypothesis fifty times what they cost a plain generator.

    A failure tells the seed of its example, by which it comes again.
    """
    for seed in range(_SEED, _SEED + (_EXAMPLES or 20)):
        try:
            holds(Random(seed))
        except Exception as error:
            error.add_note(f"Again with CLAUDE_GRPC_TEST_SEED={seed} CLAUDE_GRPC_TEST_EXAMPLES=1")
            raise
