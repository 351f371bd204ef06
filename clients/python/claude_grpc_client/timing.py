"""How a call spent its time, as the gateway tells in the trailer ``claude-grpc-timing``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

__all__ = ["Timing", "read_timing"]

_TRAILER = "claude-grpc-timing"
# Names that are newer than this client are passed over.
_PART = re.compile(r"(?:^|,)([a-z-]+)=([0-9]{1,15})(?=,|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the gateway spent the time of a call, in whole microseconds; the parts add up to ``total``.

    Attributes:
        admission: Waiting until the call could begin.
        receive: Waiting for the caller to send the request, or the next part of an upload.
        encode: Checking the request and making JSON of it.
        retry: Attempts that failed, and the waits between them.
        connect: Getting a connection to the Claude API.
        first_event: From there to the first event, or the whole answer if it was not streamed.
        stream: Waiting for more of an answer that had begun.
        relay: Decoding what came and handing it to the caller, who may have been slow to take it.
        total: All of it.
    """

    admission: int = 0
    receive: int = 0
    encode: int = 0
    retry: int = 0
    connect: int = 0
    first_event: int = 0
    stream: int = 0
    relay: int = 0
    total: int = 0

    @property
    def gateway(self) -> int:
        """What the gateway itself took: all but the waits for the caller's request and for the Claude API."""
        return self.admission + self.encode + self.relay


def read_timing(trailers: Mapping[str, str]) -> Timing | None:
    """Read it from a response's trailers; None if the gateway did not tell."""
    told = dict(_PART.findall(trailers.get(_TRAILER, "")))
    known = {field.name: told.get(field.name.replace("_", "-")) for field in fields(Timing)}
    parts = {name: int(micros) for name, micros in known.items() if micros is not None}
    return Timing(**parts) if parts else None
