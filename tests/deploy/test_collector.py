"""What the collector's configuration promises: its parts, room for all spans, traces judged whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from claude_grpc.config import Settings
from claude_grpc.telemetry import names
from claude_grpc.upstream.exchange import Timeouts

FOLDER = Path(__file__).parents[2] / "deploy" / "telemetry"
MIB = 2**20
# What a gateway does by the defaults of OTEL_METRIC_EXPORT_INTERVAL and OTEL_BSP_*.
EXPORT_SECONDS = 60
SPANS_SECONDS, SPANS_IN_A_BATCH = 5, 512


def collector() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    return loaded


def sampling() -> dict[str, Any]:
    configured: dict[str, Any] = collector()["processors"]["tail_sampling"]
    return configured


def seconds(duration: str) -> int:
    parts = re.fullmatch(r"(\d+)([sm])", duration)
    assert parts, duration
    return int(parts[1]) * {"s": 1, "m": 60}[parts[2]]


def test_each_part_of_the_collectors_pipelines_is_configured_and_used() -> None:
    configuration = collector()
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in configuration["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == set(configuration[kind])
    assert configuration["service"]["extensions"] == list(configuration["extensions"])
    for pipeline in configuration["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"


def test_the_collector_drops_every_attribute_that_holds_content() -> None:
    dropped = {action["key"] for action in collector()["processors"]["attributes/no_content"]["actions"]}
    assert dropped == {names.INPUT_MESSAGES, names.OUTPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS}


def test_content_does_not_wait_for_the_verdict_on_its_trace() -> None:
    processors = collector()["service"]["pipelines"]["traces"]["processors"]
    assert processors.index("attributes/no_content") < processors.index("tail_sampling")


def test_a_batch_of_spans_full_of_content_is_received() -> None:
    protocols = collector()["receivers"]["otlp"]["protocols"]
    content = len((names.INPUT_MESSAGES, names.OUTPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS))
    largest = SPANS_IN_A_BATCH * content * Settings.model_fields["max_captured_bytes"].default
    assert protocols["grpc"]["max_recv_msg_size_mib"] * MIB > largest
    assert protocols["http"]["max_request_body_size"] > largest


def test_a_trace_is_judged_after_the_longest_call() -> None:
    assert seconds(sampling()["decision_wait"]) >= Timeouts().read + 2 * SPANS_SECONDS


def test_a_trace_whose_root_has_come_is_judged_when_its_other_spans_have() -> None:
    after_root = seconds(sampling()["decision_wait_after_root_received"])
    assert 2 * SPANS_SECONDS < after_root < seconds(sampling()["decision_wait"])


def test_late_spans_follow_the_verdict_on_their_trace() -> None:
    cache = sampling()["decision_cache"]
    # Verdicts are remembered for longer than traces are held, and most of them are not to keep one.
    assert cache["sampled_cache_size"] >= 2 * sampling()["num_traces"]
    assert cache["non_sampled_cache_size"] > cache["sampled_cache_size"]


def test_metrics_outlive_a_lost_export_and_not_their_gateway_for_long() -> None:
    expiration = seconds(collector()["exporters"]["prometheus"]["metric_expiration"])
    assert 2 * EXPORT_SECONDS < expiration <= 3 * EXPORT_SECONDS


def test_no_alert_fires_for_a_gateway_that_is_gone() -> None:
    expiration = seconds(collector()["exporters"]["prometheus"]["metric_expiration"])
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    # What is no rate is the last that a gateway told.
    expressions = [rule["expr"] for group in groups for rule in group["rules"]]
    (levels,) = (expression for expression in expressions if not re.search(r"(rate|increase)\(", expression))
    minutes = re.search(r"count_over_time\(.*:1m\]\)\) > (\d+)$", levels)
    assert minutes
    assert int(minutes[1]) * 60 >= expiration + 2 * EXPORT_SECONDS
