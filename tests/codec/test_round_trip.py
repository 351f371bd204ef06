"""Nothing is lost between JSON and messages, in either direction, for every message of the contract."""

from __future__ import annotations

from functools import cache, partial
from random import Random

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.codec.schema import ObjectSchema, read_schema
from support.json_values import parse
from support.properties import few, run_seeded
from support.random_json import random_json
from support.random_messages import json_texts, random_message
from support.schemas import json_messages

MESSAGES = json_messages()

each_message = pytest.mark.parametrize("descriptor", MESSAGES, ids=[descriptor.name for descriptor in MESSAGES])

encoder = cache(Encoder)
decoder = cache(Decoder)


def encode(message: Message) -> bytes:
    violations = Violations()
    body = encoder(message.DESCRIPTOR).encode(message, violations)
    violations.raise_if_any()
    return body


def check_json_comes_back(descriptor: Descriptor, chance: Random) -> None:
    message_type = message_factory.GetMessageClass(descriptor)
    text = random_json(descriptor, chance)
    message = decoder(message_type).decode(text.encode())
    body = encode(message)
    assert parse(body) == parse(text)
    sent = message_type.FromString(message.SerializeToString())
    assert sent == message
    assert encode(sent) == body


def check_message_comes_back(descriptor: Descriptor, chance: Random) -> None:
    message = random_message(descriptor, chance)
    body = encode(message)
    text = body.decode()
    assert [raw for raw in json_texts(message) if raw not in text] == []
    assert decoder(type(message)).decode(body) == decoder(type(message))._decode(body) == message


@each_message
@few
@given(chance=st.randoms(use_true_random=False))
def test_json_comes_back_as_an_equal_value_and_nothing_in_it_is_found_wrong(
    descriptor: Descriptor, chance: Random
) -> None:
    check_json_comes_back(descriptor, chance)


@each_message
@few
@given(chance=st.randoms(use_true_random=False))
def test_a_message_comes_back_from_its_json_and_its_raw_json_byte_by_byte(
    descriptor: Descriptor, chance: Random
) -> None:
    check_message_comes_back(descriptor, chance)


@each_message
def test_json_of_many_seeds_comes_back(descriptor: Descriptor) -> None:
    run_seeded(partial(check_json_comes_back, descriptor))


@each_message
def test_messages_of_many_seeds_come_back(descriptor: Descriptor) -> None:
    run_seeded(partial(check_message_comes_back, descriptor))


def test_every_message_that_is_json_has_a_place_for_what_is_unknown() -> None:
    for descriptor in MESSAGES:
        schema = read_schema(descriptor)
        assert schema.extra if isinstance(schema, ObjectSchema) else schema.opaque
