from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.upstream import ServerSentEvent, SSEDecoder
from support.properties import properties

MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","content":[]}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0}\n\n'
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b": keep-alive\n\n"
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"H\xc3\xa9llo \xe2\x80\xa8"}}\n\n'
    b"id: 7\nretry: 10\nevent: content_block_stop\ndata: {}\n\n\n"
    b"data: no name\n\n"
    b"event: two\ndata: a\ndata: b\n\n"
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def decode(*pieces: bytes, **options: Any) -> list[ServerSentEvent]:
    decoder = SSEDecoder(**options)
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()


def decode_to_failure(*pieces: bytes, **options: Any) -> tuple[list[ServerSentEvent], bool]:
    decoder = SSEDecoder(**options)
    events: list[ServerSentEvent] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.end()
        events += decoder.end()  # raises what the last piece may have left
    except UpstreamProtocolError:
        return events, True
    return events, False


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


def by_the_standard(stream: bytes) -> list[ServerSentEvent]:
    """The algorithm of the HTML standard, line by line, with what this decoder does more: the last event is kept."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events, name, data = [], b"", list[bytes]()
    for line in [*lines, b""]:
        if not line:
            if b"\n".join(data):
                events.append(ServerSentEvent(name.decode(), b"\n".join(data)))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    return events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"event: a\ndata: {}\n\n", [("a", b"{}")], id="one event"),
        pytest.param(b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n", [("a", b"1"), ("b", b"2")], id="two"),
        pytest.param(b"event:a\ndata:1\n\n", [("a", b"1")], id="no space after the colon"),
        pytest.param(b"event:  a\ndata:  1\n\n", [(" a", b" 1")], id="one space is stripped, not two"),
        pytest.param(b"data: 1\nevent: a\n\n", [("a", b"1")], id="data before event"),
        pytest.param(b"event: a\nevent: b\ndata: 1\n\n", [("b", b"1")], id="the last event line counts"),
        pytest.param(b"event\ndata: 1\n\n", [("", b"1")], id="a field without a colon is empty"),
        pytest.param(b"data: 1\n\n", [("", b"1")], id="no event line"),
        pytest.param(b"event: a\ndata: 1\ndata: 2\n\n", [("a", b"1\n2")], id="data lines are joined"),
        pytest.param(b"data: 1\ndata\ndata:\ndata: 2\n\n", [("", b"1\n\n\n2")], id="also empty ones"),
        pytest.param(b"event: a\n\n", [], id="no data"),
        pytest.param(b"event: a\ndata:\n\n", [], id="empty data"),
        pytest.param(b"event: a\ndata: \n\n", [], id="empty data after a space"),
        pytest.param(b": hello\n\n:\n\n", [], id="comments"),
        pytest.param(b"event: a\n: hello\ndata: 1\n\n", [("a", b"1")], id="comment inside an event"),
        pytest.param(b"event: a\ndata: 1\n:data: 2\n\n", [("a", b"1")], id="comment that looks like data"),
        pytest.param(b"id: 1\nretry: x\nEvent: a\n data: 1\ndata: 2\nfoo: 3\n\n", [("", b"2")], id="unknown fields"),
        pytest.param(b"\n\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n", [("", b"1"), ("", b"2")], id="more blank lines"),
        pytest.param(b"event: a\r\ndata: 1\r\n\r\n", [("a", b"1")], id="CRLF"),
        pytest.param(b"event: a\rdata: 1\r\r", [("a", b"1")], id="CR"),
        pytest.param(b"event: a\rdata: 1\ndata: 2\r\n\ndata: 3\n\r\n", [("a", b"1\n2"), ("", b"3")], id="mixed"),
        pytest.param(b"data: 1\n\r\rdata: 2\r\n\r\n", [("", b"1"), ("", b"2")], id="LF CR is two line ends"),
        pytest.param(b"\xef\xbb\xbfevent: a\ndata: 1\n\n", [("a", b"1")], id="byte order mark"),
        pytest.param(b"data: \xef\xbb\xbf1\n\n", [("", b"\xef\xbb\xbf1")], id="a BOM further on is data"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n", [], id="a second BOM is no BOM"),
        pytest.param(b"\xef\xbb", [], id="nothing but half a BOM"),
        pytest.param(
            "data: \u2028\x0b\x0c\x1c\x85\n\n".encode(), [("", "\u2028\x0b\x0c\x1c\x85".encode())], id="no line ends"
        ),
        pytest.param("event: é\ndata: 1\n\n".encode(), [("é", b"1")], id="a name that is not ASCII"),
        pytest.param(b"event: a\ndata: 1\n", [("a", b"1")], id="no last blank line"),
        pytest.param(b"event: a\ndata: 1", [("a", b"1")], id="no last line end"),
        pytest.param(b"event: a\r\ndata: 1\r\n\r", [("a", b"1")], id="half a last blank line"),
        pytest.param(b"event: a\n", [], id="a last event without data"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_a_stream_is_decoded_whole_and_byte_by_byte(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    expected = [ServerSentEvent(name, data) for name, data in events]
    assert decode(stream) == expected
    assert decode(*(bytes([byte]) for byte in stream)) == expected


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_gives_the_same_events(line_end: bytes) -> None:
    stream = MESSAGE.replace(b"\n", line_end)
    assert decode(stream) == decode(*(bytes([byte]) for byte in stream)) == decode(MESSAGE)


def test_an_event_is_returned_as_soon_as_its_blank_line_is_there() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: 1\n") == []
    assert decoder.feed(b"\n") == [ServerSentEvent("", b"1")]
    assert decoder.feed(b"data: 2\r\n\r") == [ServerSentEvent("", b"2")]
    assert decoder.feed(b"\ndata: 3\r\r") == [ServerSentEvent("", b"3")]


def test_an_empty_piece_changes_nothing() -> None:
    assert decode(b"", b"data: 1\r", b"", b"\n\r", b"", b"\ndata: 2\n", b"") == decode(b"data: 1\n\ndata: 2\n\n")


@properties
@given(
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    start=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_every_split_of_a_recorded_stream_gives_the_same_events(line_end: bytes, start: bytes, cuts: list[int]) -> None:
    stream = start + MESSAGE.replace(b"\n", line_end)
    assert decode(*split(stream, cuts)) == by_the_standard(stream)


FIELDS = [
    b"data: ",
    b"data:",
    b"data",
    b"event: ",
    b"event",
    b"id: 1",
    b":",
    b" ",
    b"{}",
    b"x",
    b"event: a\ndata: {}\n\n",
]
FRAGMENTS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", "é".encode(), *FIELDS])


@properties
@given(stream=st.lists(FRAGMENTS).map(b"".join), cuts=st.lists(st.integers(0, 300)))
def test_any_stream_in_any_split_is_decoded_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    assert decode(*split(stream, cuts)) == by_the_standard(stream)


@properties
@given(
    stream=st.lists(FRAGMENTS | st.sampled_from([b"\xff", b"data: 0123456789"])).map(b"".join),
    cuts=st.lists(st.integers(0, 300)),
)
def test_a_failing_stream_fails_after_the_same_events_in_any_split(stream: bytes, cuts: list[int]) -> None:
    assert decode_to_failure(*split(stream, cuts), max_event_bytes=20) == decode_to_failure(stream, max_event_bytes=20)


@pytest.mark.parametrize(
    "bad", [b"data: \xff\n\n", b"event: \xff\ndata: 1\n\n", b"data: \xc3\n\n", b"data: \xed\xa0\x80\n\n"]
)
def test_an_event_that_is_not_utf8_fails_the_stream_after_the_events_before_it(bad: bytes) -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: 1\n\n" + bad + b"data: 2\n\n") == [ServerSentEvent("", b"1")]
    assert decoder.failure is not None
    with pytest.raises(UpstreamProtocolError, match="not UTF-8"):
        decoder.feed(b"data: 3\n\n")
    with pytest.raises(UpstreamProtocolError, match="not UTF-8"):
        decoder.end()


def test_a_character_may_be_cut_anywhere() -> None:
    stream = "data: 🎈é\n\n".encode()
    for place in range(len(stream)):
        assert decode(stream[:place], stream[place:]) == [ServerSentEvent("", "🎈é".encode())]


@pytest.mark.parametrize("end", [b"\n\n", b"\n", b""])
def test_the_cap_is_on_the_bytes_of_one_event(end: bytes) -> None:
    event = b"data: 0123456789"
    assert len(decode(event + b"\n\n", event + end, max_event_bytes=len(event))) == 2
    assert decode_to_failure(event + end, max_event_bytes=len(event) - 1) == ([], True)


def test_an_event_above_the_cap_fails_before_it_has_ended() -> None:
    decoder = SSEDecoder(max_event_bytes=100)
    decoder.feed(b"data: " + b"x" * 94)
    with pytest.raises(UpstreamProtocolError, match="over 100 bytes"):
        decoder.feed(b"xx")


def test_a_huge_event_in_small_pieces_is_decoded_once() -> None:
    data = json.dumps("x" * 8_000_000).encode()
    stream = b"event: a\ndata: " + data + b"\n\n"
    # With a search from the event's start at each piece this takes minutes.
    assert decode(*(stream[place : place + 64] for place in range(0, len(stream), 64))) == [ServerSentEvent("a", data)]
