"""Options that make no sense are refused at start-up; kinds of fields that the contract does not use yet work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from grpc_tools import protoc

from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.codec.schema import family_of, read_schema
from claude_grpc.errors import InvalidRequestError, SchemaError

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Descriptor]:
    """The messages of `odd.proto`, by name."""
    output = tmp_path_factory.mktemp("odd") / "odd.bin"
    includes = [f"-I{folder}" for folder in (HERE, PROTOS, Path(grpc_tools.__file__).parent / "_proto")]
    assert protoc.main(["protoc", *includes, f"--descriptor_set_out={output}", "odd.proto"]) == 0
    [file] = FileDescriptorSet.FromString(output.read_bytes()).file
    pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]
    pool.Add(file)
    return pool.FindFileByName("odd.proto").message_types_by_name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("SameKey", "cannot be told apart in JSON"),
        ("SameShape", "cannot be told apart in JSON"),
        ("SameObject", "cannot be told apart in JSON"),
        ("NoKind", "no JSON kind for this type of field"),
        ("JsonBytes", "no JSON kind for this type of field"),
        ("OneofWithoutUnion", "only a union has a oneof"),
        ("KeyOutsideList", "objects with a key stand in a list"),
        ("UnlessNothing", "there is no field `b`"),
        ("Unspelled", "every value but the zero one needs a spelling"),
        ("BesideOneof", "beside its oneof a union has only its discriminator"),
        ("NoOpaque", "a union has an opaque arm"),
        ("NoTag", "an arm of a union is a message with a tag or a family"),
        ("ScalarArm", "an arm of a union is a message with a tag or a family"),
        ("NoExample", "an arm without a tag needs an example"),
        ("SameTag", "cannot be told apart in JSON"),
        ("SameFamily", "cannot be told apart in JSON"),
        ("ArmWithType", "the `type` of an arm stands in its union"),
        ("ArmWithConstant", "the `type` of an arm stands in its union"),
    ],
)
def test_options_that_make_no_sense_are_refused(odd: dict[str, Descriptor], name: str, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        read_schema(odd[name])


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("web_search_20260318", "web_search"),
        ("web_search", ""),
        ("_20260318", ""),
        ("a_2026031", ""),
        ("a_202603180", ""),
    ],
)
def test_a_family_is_what_stands_before_a_date(name: str, family: str) -> None:
    assert family_of(name) == family


@pytest.fixture(scope="module")
def unused(odd: dict[str, Descriptor]) -> Any:
    return message_factory.GetMessageClass(odd["Unused"])


def encode(message: Message) -> str:
    violations = Violations()
    body = Encoder(message.DESCRIPTOR).encode(message, violations)
    violations.raise_if_any()
    return body.decode()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"numbers":[1,2],"words":[]}', {"numbers": [1, 2]}),
        ('{"words":["a","b"]}', {"words": ["a", "b"]}),
        ('{"words":[],"any":[ 1.0,{ },"x"]}'.replace("[ ", "["), {"any_json": ["1.0", "{ }", '"x"']}),
        ('{"words":[],"colours":["red","red"]}', {"colours": [1, 1]}),
        ('{"words":[],"value":{ }}', {"first_json": "{ }"}),
        ('{"words":[],"value":5}', {"second_json": "5"}),
        ('{"words":[],"ratio":0.5}', {"ratio": 0.5}),
        ('{"words":[],"data":"YQ=="}', {"data": b"a"}),
        ('{"words":[],"colour":"red"}', {"colour": 1, "colour_raw": "red"}),
        ('{"words":[],"colour":"blue"}', {"colour": 0, "colour_raw": "blue"}),
        ('{"words":[],"nested":{"words":[]}}', {"nested": {}}),
        ('{"words":[],"numbers":[2147483648]}', {"extra_json": '{"numbers":[2147483648]}'}),
        ('{"words":[],"numbers":[1.0]}', {"extra_json": '{"numbers":[1.0]}'}),
        ('{"words":[],"numbers":[]}', {"extra_json": '{"numbers":[]}'}),
        ('{"words":[],"colours":["blue"]}', {"extra_json": '{"colours":["blue"]}'}),
        ('{"words":[],"ratio":"0.5"}', {"extra_json": '{"ratio":"0.5"}'}),
        ('{"words":[],"ratio":0.0}', {"extra_json": '{"ratio":0.0}'}),
        ('{"words":[],"ratio":12345678901234567890}', {"extra_json": '{"ratio":12345678901234567890}'}),
        ('{"words":[],"data":5}', {"extra_json": '{"data":5}'}),
        ('{"words":[],"data":"é"}', {"extra_json": '{"data":"é"}'}),
        ('{"words":[],"nested":{}}', {"extra_json": '{"nested":{}}'}),
        ('{"words":[],"colour":""}', {"extra_json": '{"colour":""}'}),
    ],
)
def test_a_value_is_in_its_field_or_stays_json(unused: Any, text: str, fields: dict[str, Any]) -> None:
    message = Decoder(unused).decode(text.encode())
    assert message == unused(**fields)
    assert encode(message) == text


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"any_json": ["1", "{"]}, "any_json[1]"),
        ({"any_json": ["[5"]}, "any_json[0]"),
        ({"second_json": "nul"}, "second_json"),
        ({"first_json": "5"}, "first_json"),
        ({"first_json": "{}", "second_json": "5"}, "second_json"),
        ({"ratio": float("inf")}, "ratio"),
        ({"colours": [7]}, "colours[0]"),
        ({"colour": 1, "colour_raw": "blue"}, "colour_raw"),
    ],
)
def test_a_value_that_is_no_json_is_told_by_its_path(unused: Any, fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        encode(unused(**fields))
    assert [violation.field for violation in caught.value.violations] == [path]
