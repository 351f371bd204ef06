"""The targets of `make fuzz`, with as many inputs as a moment allows."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutate import mutated
from fuzz.targets import SEEDS, TARGETS

EXAMPLES = int(os.environ.get("CLAUDE_GRPC_TEST_EXAMPLES", "100"))
often = settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)

each_target = pytest.mark.parametrize("name", TARGETS)


@each_target
@often
@given(data=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)


@each_target
def test_what_is_nearly_right_is_taken_or_refused(name: str) -> None:
    chance = random.Random(7)
    seeds = list(SEEDS[name]())
    for _ in range(20 * EXAMPLES):
        TARGETS[name](mutated(chance.choice(seeds), chance))


@each_target
def test_every_seed_is_taken(name: str) -> None:
    for seed in SEEDS[name]():
        TARGETS[name](seed)
