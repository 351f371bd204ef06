"""Times: the API's RFC 3339 strings as `google.protobuf.Timestamp`, for programs to compute with.

A time can be spelled in many ways. One spelling is ours; a string that is spelled otherwise also stays, as it is, where
unknown keys go, and is written from there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["parse_time", "render_time"]

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_NANOS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> Timestamp | None:
    """The time, cut to nanoseconds; None if the text is not of RFC 3339, or of a time that no Timestamp holds."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    second, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(second).replace(tzinfo=UTC)
        offset = timedelta(hours=int(hours), minutes=int(minutes)) if sign else timedelta()
        moment += offset if sign == "-" else -offset
    except (OverflowError, ValueError):
        return None
    since = moment - _EPOCH
    nanos = int((fraction or "0")[:9].ljust(9, "0"))
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=nanos)


def render_time(time: Timestamp) -> str:
    """The time as the API spells it: in UTC, with no fraction, or one of six digits, or of nine where it takes them.

    Raises:
        ValueError: It is not a time of the years 1 to 9999.
    """
    try:
        second = _EPOCH + timedelta(seconds=time.seconds)
    except OverflowError:
        second = None
    if second is None or not 0 <= time.nanos < _NANOS:
        raise ValueError("no time of the years 1 to 9999")
    nanos = f"{time.nanos:09}"
    fraction = f".{nanos.removesuffix('000')}" if time.nanos else ""
    return f"{second.replace(tzinfo=None).isoformat()}{fraction}Z"
