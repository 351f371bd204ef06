"""Requests encode to the bodies that are written down beside them, byte by byte: a prompt cache lives on these bytes.

A request ``NAME.txtpb`` is a ``MessageParams``, written by hand; ``NAME.json`` is its body, which `make golden` writes
anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf import text_format

from claude_grpc.codec import Encoder, Violations
from claude_grpc.v1.messages_pb2 import MessageParams

FOLDER = Path(__file__).parent / "requests"
UPDATE = os.environ.get("CLAUDE_GRPC_TEST_UPDATE_GOLDEN") == "1"
NAMES = sorted(path.stem for path in FOLDER.glob("*.txtpb"))

_encoder = Encoder(MessageParams.DESCRIPTOR)


def encode(name: str) -> bytes:
    params = text_format.Parse((FOLDER / f"{name}.txtpb").read_text(), MessageParams())
    violations = Violations()
    body = _encoder.encode(params, violations)
    violations.raise_if_any()
    return body + b"\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_request_encodes_to_the_bytes_that_are_written_down(name: str) -> None:
    if UPDATE:
        (FOLDER / f"{name}.json").write_bytes(encode(name))
    assert encode(name) == (FOLDER / f"{name}.json").read_bytes()


def test_every_body_has_its_request() -> None:
    assert NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES
