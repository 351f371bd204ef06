"""Times: typed for programs, and the API's own spelling for whoever sends them on."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.codec.times import parse_time, render_time
from claude_grpc.errors import InvalidRequestError
from claude_grpc.v1.files_pb2 import FileMetadata

NOON = 1_792_584_000  # 2026-10-21T12:00:00Z


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("2026-10-21T12:00:00Z", NOON, 0),
        ("2026-10-21T12:00:00.100435Z", NOON, 100_435_000),
        ("2026-10-21T12:00:00.100000Z", NOON, 100_000_000),
        ("2026-10-21T12:00:00.000000001Z", NOON, 1),
        ("1970-01-01T00:00:00Z", 0, 0),
        ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799, 999_999_000),
    ],
)
def test_a_time_as_the_api_spells_it_comes_and_goes(text: str, seconds: int, nanos: int) -> None:
    time = parse_time(text)
    assert time == Timestamp(seconds=seconds, nanos=nanos)
    assert render_time(time) == text


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("2026-10-21T12:00:00.1Z", NOON, 100_000_000),
        ("2026-10-21t12:00:00z", NOON, 0),
        ("2026-10-21T14:00:00+02:00", NOON, 0),
        ("2026-10-21T04:30:00-07:30", NOON, 0),
        ("2026-10-21T12:00:00+00:00", NOON, 0),
        ("2026-10-21T12:00:00.0Z", NOON, 0),
        ("2026-10-21T12:00:00.12345678901Z", NOON, 123_456_789),
    ],
)
def test_a_time_spelled_otherwise_is_typed_and_keeps_its_spelling(text: str, seconds: int, nanos: int) -> None:
    sent = json.dumps({"created_at": text})
    file = Decoder(FileMetadata).decode(sent.encode())
    assert file.create_time == Timestamp(seconds=seconds, nanos=nanos)
    violations = Violations()
    assert json.loads(Encoder(FileMetadata.DESCRIPTOR).encode(file, violations)) == json.loads(sent)
    violations.raise_if_any()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-10-21",
        "2026-10-21 12:00:00Z",
        "2026-10-21T12:00:00",
        "2026-10-21T12:00:60Z",
        "2026-02-30T12:00:00Z",
        "2026-10-21T12:00:00.Z",
        "2026-10-21T12:00:00Z\n",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "٢٠٢٦-10-21T12:00:00Z",
    ],
)
def test_what_is_no_time_is_kept_as_it_came(text: str) -> None:
    assert parse_time(text) is None
    file = Decoder(FileMetadata).decode(json.dumps({"created_at": text}).encode())
    assert not file.HasField("create_time")
    assert json.loads(file.extra_json) == {"created_at": text}


@pytest.mark.parametrize("time", [{"seconds": 10**12}, {"seconds": -(10**12)}, {"nanos": -1}, {"nanos": 10**9}])
def test_a_time_that_cannot_be_spelled_is_a_violation(time: dict[str, int]) -> None:
    violations = Violations()
    Encoder(FileMetadata.DESCRIPTOR).encode(FileMetadata(create_time=Timestamp(**time)), violations)
    with pytest.raises(InvalidRequestError, match="create_time: Must be a time"):
        violations.raise_if_any()


def test_a_time_that_contradicts_its_spelling_is_set_twice() -> None:
    violations = Violations()
    file = FileMetadata(create_time=Timestamp(seconds=NOON), extra_json='{"created_at":"2026-10-21T12:00:01Z"}')
    Encoder(FileMetadata.DESCRIPTOR).encode(file, violations)
    with pytest.raises(InvalidRequestError, match="set it once"):
        violations.raise_if_any()
