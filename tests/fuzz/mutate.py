"""Inputs a little away from good ones, by chance; for fuzzing without a fuzzer."""

from __future__ import annotations

from random import Random

__all__ = ["mutated"]

# What JSON, streams of events and protobuf are made of.
_PIECES = [
    *(bytes([byte]) for byte in b'{}[]":,\\ \n\r\t0123456789.eE+-tfn\x00\x01\x08\x0a\x12\x7f\x80\xff'),
    *(b"null", b"true", b'"type"', b"\\ud800", b"\\u0000", b"1e400", b"\xc3\xa9", b"\xed\xa0\x80", b"\xe2\x80\xa8"),
    *(b"data: ", b"event: ", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b'{"":', b"[[[["),
]


def mutated(data: bytes, chance: Random) -> bytes:
    """The same with up to five small changes."""
    for _ in range(chance.randint(0, 5)):
        place = chance.randint(0, len(data))
        match chance.randrange(4):
            case 0:
                data = data[:place] + chance.choice(_PIECES) + data[place:]
            case 1:
                data = data[:place] + chance.choice(_PIECES) + data[place + 1 :]
            case 2:
                data = data[:place] + data[place + chance.randint(1, 8) :]
            case _:
                other = chance.randint(0, len(data))
                data = data[:place] + data[other : other + chance.randint(1, 40)] + data[place:]
    return data
