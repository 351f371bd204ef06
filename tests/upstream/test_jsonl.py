from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.upstream import JSONLDecoder
from support.properties import properties

RESULTS = (
    b'{"custom_id":"a","result":{"type":"canceled"}}\n'
    b'{"custom_id":"b","result":{"type":"expired"}}\n'
    b"\n"
    b' {"custom_id":"\xc3\xa9 \xe2\x80\xa8 \x0b\x1c","result":null} \n'
    b'{"custom_id":"last"}'
)


def decode(*pieces: bytes, **options: Any) -> list[bytes]:
    decoder = JSONLDecoder(**options)
    return [line for piece in pieces for line in decoder.feed(piece)] + decoder.end()


def decode_to_failure(*pieces: bytes, **options: Any) -> tuple[list[bytes], bool]:
    decoder = JSONLDecoder(**options)
    lines: list[bytes] = []
    try:
        for piece in pieces:
            lines += decoder.feed(piece)
        lines += decoder.end()
        lines += decoder.end()  # raises what the last piece may have left
    except UpstreamProtocolError:
        return lines, True
    return lines, False


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        pytest.param(b"1\n2\n", [b"1", b"2"], id="LF"),
        pytest.param(b"1\r\n2\r\n", [b"1", b"2"], id="CRLF"),
        pytest.param(b"1\r2\r", [b"1", b"2"], id="CR"),
        pytest.param(b"1\n2\r\n3\r4\n\r5", [b"1", b"2", b"3", b"4", b"5"], id="mixed"),
        pytest.param(b"1\n2", [b"1", b"2"], id="no last line end"),
        pytest.param(b"\n\n1\n\n \t\n2\n\n", [b"1", b"2"], id="blank lines"),
        pytest.param(b"\xef\xbb\xbf1\n2\n", [b"1", b"2"], id="byte order mark"),
        pytest.param(b"1\n\xef\xbb\xbf2\n", [b"1", b"\xef\xbb\xbf2"], id="a BOM further on is content"),
        pytest.param(
            "\u2028\x0b\x0c\x1c\x85\n2".encode(), ["\u2028\x0b\x0c\x1c\x85".encode(), b"2"], id="no line ends"
        ),
        pytest.param(b" 1 \n", [b" 1 "], id="blanks stay"),
        pytest.param(b"\xef\xbb\xbf", [], id="nothing but a BOM"),
        pytest.param(b"\r\n", [], id="nothing but a line end"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_a_stream_is_decoded_whole_and_byte_by_byte(stream: bytes, lines: list[bytes]) -> None:
    assert decode(stream) == lines
    assert decode(*(bytes([byte]) for byte in stream)) == lines


@properties
@given(line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]), cuts=st.lists(st.integers(0, 2000)))
def test_every_split_with_every_line_end_gives_the_same_lines(line_end: bytes, cuts: list[int]) -> None:
    expected = [line for line in RESULTS.split(b"\n") if line]
    assert decode(*split(RESULTS.replace(b"\n", line_end), cuts)) == expected


FRAGMENTS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", "é".encode(), b" ", b"{}", b"0123456789", b"\xff"])


@properties
@given(stream=st.lists(FRAGMENTS).map(b"".join), cuts=st.lists(st.integers(0, 300)))
def test_a_failing_stream_fails_after_the_same_lines_in_any_split(stream: bytes, cuts: list[int]) -> None:
    assert decode_to_failure(*split(stream, cuts), max_line_bytes=20) == decode_to_failure(stream, max_line_bytes=20)


def test_a_line_is_returned_as_soon_as_its_end_is_there() -> None:
    decoder = JSONLDecoder()
    assert decoder.feed(b"1") == []
    assert decoder.feed(b"\r") == [b"1"]
    assert decoder.feed(b"\n2") == []
    assert decoder.end() == [b"2"]


@pytest.mark.parametrize("bad", [b"\xff\n", b'"\xc3"\n', b"\xed\xa0\x80\n"])
def test_a_line_that_is_not_utf8_fails_the_stream_after_the_lines_before_it(bad: bytes) -> None:
    decoder = JSONLDecoder()
    assert decoder.feed(b"1\n" + bad + b"2\n") == [b"1"]
    assert decoder.failure is not None
    for call in (lambda: decoder.feed(b"3\n"), decoder.end):
        with pytest.raises(UpstreamProtocolError, match="not UTF-8"):
            call()


@pytest.mark.parametrize("end", [b"\n", b""])
def test_the_cap_is_on_the_bytes_of_one_line(end: bytes) -> None:
    assert len(decode(b"0123456789\n0123456789" + end, max_line_bytes=10)) == 2
    assert decode_to_failure(b"0123456789" + end, max_line_bytes=9) == ([], True)


def test_a_line_above_the_cap_fails_before_it_has_ended() -> None:
    decoder = JSONLDecoder(max_line_bytes=100)
    decoder.feed(b"x" * 100)
    with pytest.raises(UpstreamProtocolError, match="over 100 bytes"):
        decoder.feed(b"x")


def test_a_huge_line_in_small_pieces_is_decoded_once() -> None:
    line = b"x" * 8_000_000
    # With a search from the line's start at each piece this takes minutes.
    assert decode(*(line[place : place + 64] for place in range(0, len(line), 64)), b"\n") == [line]
