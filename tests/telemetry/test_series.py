"""However hostile the values, the number of series is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from claude_grpc.telemetry.labels import BoundedLabel
from claude_grpc.telemetry.metrics import Metrics, ModelCallFacts
from claude_grpc.telemetry.tally import Tally
from claude_grpc.telemetry.usage import Usage
from support.memory_metrics import MemoryMetrics


def counts(tally: Tally) -> dict[tuple[Any, ...], float]:
    return {tuple(labels.values()): count for count, labels in tally.read()}


def facts(model: str, *, served: bool, error: str = "") -> ModelCallFacts:
    return ModelCallFacts(
        operation="chat",
        model=model,
        response_model=model if served else "",
        error=error,
        seconds=1.0,
        usage=Usage(uncached=3, output=4, service_tier="standard"),
        first_chunk=0.5,
        chunk_interval=0.1,
    )


def test_a_label_is_given_to_what_is_proven_while_there_is_room() -> None:
    label = BoundedLabel(2, frozenset({""}))
    assert label.of("made-up") == "_OTHER"
    assert label.of("real", proven=True) == "real"
    assert label.of("real") == "real"
    assert label.of("late", proven=True) == "_OTHER"
    assert label.of("") == ""


def test_a_label_is_never_long() -> None:
    assert BoundedLabel(9).of("x" * 129, proven=True) == "_OTHER"


def test_a_tally_counts_by_labels_and_leaves_out_empty_ones() -> None:
    tally = Tally("a", "b", fixed={"c": 1})
    tally.add("x", "")
    tally.add("x", "", amount=4)
    tally.add("x", "y", amount=-1)
    assert counts(tally) == {(1, "x"): 5, (1, "x", "y"): -1}


def test_a_tally_has_one_series_more_than_its_most_however_much_is_counted() -> None:
    tally = Tally("a", most=3)
    for number in range(1000):
        tally.add(str(number))
    tally.add("1")
    assert counts(tally) == {("0",): 1, ("1",): 2, ("2",): 1, ("_OTHER",): 997}


@pytest.mark.parametrize("served", [True, False])
def test_ten_thousand_model_names_make_a_bounded_number_of_series(served: bool) -> None:
    memory = MemoryMetrics()
    metrics = Metrics(memory.meter, ("upstream", 443))
    for number in range(10_000):
        metrics.model_call_ended(facts(f"model-{number}", served=served, error=f"error-{number}"))
        metrics.exchange_started()
        metrics.exchange_ended(sent=False, outcome=f"outcome-{number}", retried=True)
    found = memory.points()
    assert {name: len(points) for name, points in found.items() if len(points) > 150} == {}
    tokens = found["gen_ai.client.inference.usage.input_tokens"]
    assert sum(point.value for point in tokens) == 30_000
    requested = {point.attributes["gen_ai.request.model"] for point in tokens}
    assert "_OTHER" in requested
    assert ("model-7" in requested) is served


def test_a_made_up_model_takes_no_place_from_a_real_one() -> None:
    memory = MemoryMetrics()
    metrics = Metrics(memory.meter, ("upstream", 443))
    for number in range(1000):
        metrics.model_call_ended(facts(f"made-up-{number}", served=False, error="not_found_error"))
    metrics.model_call_ended(facts("claude-opus-5-5", served=True))
    metrics.model_call_ended(facts("claude-opus-5-5", served=False, error="overloaded_error"))
    points = memory.points()["gen_ai.client.inference.duration"]
    labels = {(point.attributes["gen_ai.request.model"], point.attributes.get("error.type")) for point in points}
    assert labels == {
        ("_OTHER", "not_found_error"), ("claude-opus-5-5", None), ("claude-opus-5-5", "overloaded_error")
    }  # fmt: skip


def test_the_buckets_reach_as_far_as_an_answer_may_take() -> None:
    memory = MemoryMetrics()
    metrics = Metrics(memory.meter, ("upstream", 443))
    metrics.rpc_started("S/M")
    metrics.rpc_ended("S/M", "OK", 599.0)
    metrics.model_call_ended(facts("m", served=True))
    found = memory.points()
    for name in ("rpc.server.call.duration", "gen_ai.client.inference.duration"):
        assert found[name][0].explicit_bounds[-1] == 600
    assert found["rpc.server.call.duration"][0].bucket_counts[-1] == 0
