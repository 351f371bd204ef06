"""Whatever the API sends is encoded to an equal JSON value again, for every message of the contract."""

from __future__ import annotations

import os

import pytest
from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.codec.schema import ObjectSchema, read_schema
from claude_grpc.v1 import (
    batches_pb2,
    content_pb2,
    files_pb2,
    messages_pb2,
    models_pb2,
    skills_pb2,
    tools_pb2,
    wire_pb2,
)
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.json_values import of_message, parse

EXAMPLES = int(os.environ.get("CLAUDE_GRPC_TEST_EXAMPLES", "40"))
MESSAGES = [
    descriptor
    for module in (batches_pb2, content_pb2, files_pb2, messages_pb2, models_pb2, skills_pb2, tools_pb2)
    for descriptor in module.DESCRIPTOR.message_types_by_name.values()
    if any(f.GetOptions().Extensions[wire_pb2.wire].extra or f.GetOptions().Extensions[wire_pb2.wire].opaque
           for f in descriptor.fields)
]  # fmt: skip
NAMES = [descriptor.name for descriptor in MESSAGES]


@pytest.mark.parametrize("descriptor", MESSAGES, ids=NAMES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_json_comes_back_as_an_equal_value(descriptor: Descriptor, data: st.DataObject) -> None:
    text = data.draw(of_message(descriptor))
    message = Decoder(message_factory.GetMessageClass(descriptor)).decode(text.encode())
    again = Encoder(descriptor).encode(message, Violations())
    assert parse(again) == parse(text)


@pytest.mark.parametrize("descriptor", MESSAGES, ids=NAMES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_message_survives_its_own_wire_and_encodes_to_the_same_bytes(descriptor: Descriptor, data: st.DataObject) -> None:
    message_type = message_factory.GetMessageClass(descriptor)
    message = Decoder(message_type).decode(data.draw(of_message(descriptor)).encode())
    sent = message_type.FromString(message.SerializeToString())
    assert sent == message
    assert Encoder(descriptor).encode(sent, Violations()) == Encoder(descriptor).encode(message, Violations())


def test_every_message_that_is_json_has_a_place_for_what_is_unknown() -> None:
    for descriptor in MESSAGES:
        schema = read_schema(descriptor)
        assert schema.extra if isinstance(schema, ObjectSchema) else schema.opaque
