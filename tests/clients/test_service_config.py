"""The service config: it has every method, and both clients use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor

from claude_grpc.v1 import batches_pb2, files_pb2, gateway_pb2, messages_pb2, models_pb2, skills_pb2
from claude_grpc_client import AsyncClient, Client, UnavailableError

CLIENTS = Path(__file__).parents[2] / "clients"
PYTHONS = CLIENTS / "python" / "claude_grpc_client" / "service_config.json"
CONFIG: dict[str, Any] = json.loads(PYTHONS.read_text())
METHODS = [
    method
    for file in (batches_pb2, files_pb2, gateway_pb2, messages_pb2, models_pb2, skills_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# Where the connection broke, nobody knows whether they have done it.
NOT_TRIED_AGAIN = {"CreateMessageBatch", "UploadFile", "CreateSkill", "CreateSkillVersion"}


def named() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method that is named, with its entry."""
    for entry in CONFIG["methodConfig"]:
        for name in entry["name"]:
            yield f"{name['service']}.{name['method']}", entry


def test_every_method_is_named_once_and_no_other() -> None:
    assert sorted(name for name, _ in named()) == sorted(method.full_name for method in METHODS)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_has_a_time_and_is_tried_again_unless_it_creates(method: MethodDescriptor) -> None:
    entry = dict(named())[method.full_name]
    assert float(entry["timeout"].removesuffix("s")) >= (3600 if method.server_streaming else 30)
    if method.name in NOT_TRIED_AGAIN:
        assert "retryPolicy" not in entry
    else:
        assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
        assert entry["retryPolicy"]["maxAttempts"] == 3


def test_both_clients_have_the_same() -> None:
    assert (CLIENTS / "go" / "claudegrpc" / "service_config.json").read_bytes() == PYTHONS.read_bytes()


QUESTION: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [("user", "Hi")]}


@pytest.mark.parametrize(("pushback", "attempts"), [("1", 3), ("-1", 1)])
async def test_the_python_clients_try_again_unless_the_gateway_forbids_it(
    fake: Any, threaded_fake: Any, overloaded: dict[str, Any], pushback: str, attempts: int
) -> None:
    for one in (fake, threaded_fake):
        one.play(**overloaded, trailers=[("grpc-retry-pushback-ms", pushback)])
    async with AsyncClient(fake.target) as client:
        with pytest.raises(UnavailableError):
            await client.create(**QUESTION)
    assert len(fake.requests) == attempts
    with Client(threaded_fake.target) as blocking, pytest.raises(UnavailableError):
        blocking.create(**QUESTION)
    assert len(threaded_fake.requests) == attempts
