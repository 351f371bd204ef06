"""A foreign client that knows nothing of ours but reflection."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from support.processes import GatewayProcess

BUF = shutil.which("buf", path=sysconfig.get_path("scripts")) or shutil.which("buf")


def curl(*arguments: str) -> str:
    if BUF is None:
        pytest.skip("buf is not installed")
    return subprocess.run(
        [BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
        cwd=Path(__file__).parent,
    ).stdout


def test_reflection_lists_the_services(gateway_process: GatewayProcess) -> None:
    listed = curl(f"http://{gateway_process.target}", "--list-services").split()
    assert {"claude_grpc.v1.MessagesService", "claude_grpc.v1.GatewayService", "grpc.health.v1.Health"} <= set(listed)


def test_an_answer_is_streamed(gateway_process: GatewayProcess) -> None:
    request = {
        "params": {
            "model": "claude-opus-5-5",
            "max_tokens": 3000,
            "thinking": {"enabled": {"budget_tokens": 1024}},
            "messages": [{"role": "ROLE_USER", "text": "Why is the sky blue?"}],
        }
    }
    url = f"http://{gateway_process.target}/claude_grpc.v1.MessagesService/StreamMessage"
    text, decoder, events = curl(url, "-d", json.dumps(request)).strip(), json.JSONDecoder(), []
    while text:
        event, end = decoder.raw_decode(text)
        events.append(event)
        text = text[end:].lstrip()
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "message_stop"
    assert any("thinkingDelta" in event.get("contentBlockDelta", {}).get("delta", {}) for event in events)
