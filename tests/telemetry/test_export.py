"""The standard settings: what they switch on, and that nothing is on without them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry.export import Export, open_export
from claude_grpc.v1.batches_pb2 import WatchMessageBatchRequest
from support.otlp import Collector, open_collector
from support.processes import clean_environment
from support.resources import ended_batch
from support.stack import create, drain, open_stack, stream


async def scrape(port: int) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            return str(response.read(), "utf-8")

    return await asyncio.to_thread(get)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SERVICE_NAME": "mine"},
    ],
)
def test_nothing_is_exported_unless_asked_for(environ: dict[str, str]) -> None:
    assert open_export(environ, "1") == Export()


SERVE_AND_TELL = """
import asyncio, sys
from claude_grpc.config import load_settings
from claude_grpc.server import open_gateway

async def serve():
    async with open_gateway(load_settings(listen="127.0.0.1:0")):
        heavy = ("opentelemetry", "prometheus_client", "requests", "urllib3")
        print([name for name in sys.modules if name.startswith(heavy)])

asyncio.run(serve())
"""


def test_a_gateway_without_exporters_imports_nothing_of_opentelemetry() -> None:
    served = subprocess.run(
        [sys.executable, "-c", SERVE_AND_TELL], capture_output=True, text=True, check=True, env=clean_environment()
    )
    assert served.stdout == "[]\n"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: there is no zipkin"),
        ({"OTEL_METRICS_EXPORTER": "statsd"}, "OTEL_METRICS_EXPORTER: there is no statsd"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        (
            {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "x"},
            "OTEL_EXPORTER_PROMETHEUS_PORT",
        ),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "maybe"}, "CAPTURE_MESSAGE_CONTENT: must be one of"),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SPAN_EVENT_COUNT_LIMIT": "x"}, "OTEL_SPAN_EVENT_COUNT_LIMIT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_BSP_MAX_QUEUE_SIZE": "x"}, "OTEL_BSP_MAX_QUEUE"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate",
            },
            r"OTEL_\*: .*deflate",
        ),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(
    environ: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=named):
        open_export(environ, "1")


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize(
    "headers",
    ["a=b,CANARY", "a=b, a=CANARY;c", "a=CANARY%0Ac", "a=CANARY%C3%A9", '"a"=CANARY', "=CANARY"],
)
def test_headers_that_cannot_be_sent_are_told_without_their_values(
    name: str, headers: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: header [12] must be key=value") as caught:
        open_export({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", name: headers}, "1")
    assert "CANARY" not in str(caught.value) + caplog.text


async def test_headers_are_sent_with_their_values_decoded(export_to: Any) -> None:
    async with open_collector() as collector:
        headers = "authorization=Bearer%20secret, x-tenant = a b=c ,"
        export_to(collector.http_url, "http/protobuf", OTEL_EXPORTER_OTLP_HEADERS=headers)
        async with open_stack() as stack:
            await drain(stack.messages.StreamMessage(stream()))
    assert {sent.get("authorization") for sent in collector.headers} == {"Bearer secret"}
    assert {sent.get("x-tenant") for sent in collector.headers} == {"a b=c"}


async def test_the_last_word_of_a_gauge_is_that_of_the_end(collector: Collector) -> None:
    async with open_stack() as stack:
        call = stack.messages.CreateMessage(create("[[slow-headers]]"))
        running = "claude_grpc.admission.calls"
        await collector.until(lambda: collector.total(running, claude_grpc__state="running") == 1)
        call.cancel()
        await stack.gateway.drain()
    assert collector.total(running, claude_grpc__state="running") == 0


async def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(taken.getsockname()[1]))
        with pytest.raises(ConfigurationError, match="cannot listen"):
            async with open_stack():
                pass


async def test_each_signal_may_go_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_collector() as traces, open_collector() as metrics:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{traces.http_url}/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", metrics.grpc_url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")
        async with open_stack() as stack:
            await drain(stack.messages.StreamMessage(stream()))
        assert (len(traces.spans), traces.metrics) == (3, set())
        assert (metrics.spans, "rpc.server.call.duration" in metrics.metrics) == ([], True)


async def test_metrics_can_be_scraped_on_a_port_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(port))
    async with open_stack() as stack:
        await drain(stack.messages.StreamMessage(stream()))
        page = await scrape(port)
        tokens = stack.simulator.usage["output_tokens"]
    [line] = [
        line for line in page.splitlines() if line.startswith("gen_ai_client_inference_usage_output_tokens_total")
    ]
    assert line.endswith(f" {tokens}.0")
    assert 'gen_ai_request_model="claude-opus-5-5"' in line
    assert "rpc_server_call_duration_seconds_bucket{" in page
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


async def test_on_the_console_a_call_is_a_tree(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    async with open_stack(max_retries=1) as stack:
        stack.simulator.script("error 529 retry-after-ms=1", "")
        await drain(stack.messages.StreamMessage(stream()))
    lines = capfd.readouterr().err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("trace "))
    tree = lines[start + 1 : start + 6]
    assert [line.split()[0] for line in tree] == [
        "claude_grpc.v1.MessagesService/StreamMessage", "chat", "after", "POST", "POST"
    ]  # fmt: skip
    assert [len(line) - len(line.lstrip()) for line in tree] == [0, 2, 6, 4, 4]
    assert "FAILED" in tree[3]
    assert any(line.startswith("  gen_ai.client.inference.usage.output_tokens ") for line in lines)


async def test_on_the_console_two_calls_of_a_trace_are_two_trees(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    metadata = (("traceparent", f"00-{7:032x}-{9:016x}-01"),)
    async with open_stack() as stack:
        slow = stack.messages.StreamMessage(stream("[[stall at=3]]"), metadata=metadata)
        await slow.read()
        await drain(stack.messages.StreamMessage(stream(), metadata=metadata))
        slow.cancel()
        await stack.gateway.drain()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith((" ", "trace", "claude_grpc.v1"))]
    assert [line.split()[0] for line in lines] == [
        "trace",
        "claude_grpc.v1.MessagesService/StreamMessage",
        "chat",
        "POST",
    ] * 2


async def test_on_the_console_a_poll_is_a_tree_that_names_the_traces_it_is_for(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    async with open_stack() as stack:
        batch_id = await ended_batch(stack, "Why?")
        await drain(stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=batch_id)))
    lines = capfd.readouterr().err.splitlines()
    watch = next(number for number, line in enumerate(lines) if "WatchMessageBatch " in line)
    poll = next(number for number, line in enumerate(lines) if line.startswith("get_message_batch "))
    assert lines[poll - 1] == f"    for {lines[watch - 1]}"
    assert lines[poll - 2].startswith("trace ")
    assert lines[poll + 1].startswith("  GET ")
