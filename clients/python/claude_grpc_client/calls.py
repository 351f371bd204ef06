"""Calls of the resources: made, read to their end, taken up again where a connection broke."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import grpc

from claude_grpc.v1.options_pb2 import CallOptions
from claude_grpc_client.errors import UnavailableError, from_rpc_error
from claude_grpc_client.timing import Timing, read_timing

__all__ = ["Caller", "read", "read_on"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

# How often in a row a stream may break without having brought anything, and the longest wait between two tries.
_FRUITLESS_TRIES = 5
_LONGEST_WAIT = 5.0


class _StreamCall(Protocol[_T_co]):
    """What is needed of gRPC's call, whose own type has no public name."""

    def __iter__(self) -> Iterator[_T_co]: ...

    def cancel(self) -> Any: ...


class _Method(Protocol[_T_co]):
    """What is needed of a stub's method with one answer."""

    def with_call(self, request: Any, timeout: float | None = None) -> tuple[_T_co, Any]: ...


class Caller:
    """Makes a resource's calls.

    Attributes:
        timing: Where the gateway spent the time of the last call that ended well; None if it did not tell.

    Args:
        timeout: Deadline of a call in seconds; None is none.
        call_options: How the gateway handles each call; None for its settings.
    """

    def __init__(self, timeout: float | None, call_options: CallOptions | None) -> None:
        self.timing: Timing | None = None
        self._timeout = timeout
        self._call_options = call_options

    def _ask(self, method: _Method[_T], request: Any) -> _T:
        """The answer to a request, or to an iterator of requests; errors as ``ClaudeError``."""
        try:
            answer, call = method.with_call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        self._ended(call)
        return answer

    def _read_on(self, open_call: Callable[[], _StreamCall[_T]]) -> Iterator[_T]:
        """As `read_on`."""
        calls: list[_StreamCall[_T]] = []

        def opened() -> _StreamCall[_T]:
            calls[:] = [open_call()]
            return calls[0]

        yield from read_on(opened)
        self._ended(calls[0])

    def _ended(self, call: Any) -> None:
        self.timing = read_timing(dict(call.trailing_metadata() or ()))


def read(call: _StreamCall[_T]) -> Iterator[_T]:
    """The messages of a streamed answer, errors as ``ClaudeError``; a reader who leaves cancels the call."""
    try:
        yield from call
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    finally:
        call.cancel()


def read_on(open_call: Callable[[], _StreamCall[_T]], *, sleep: Callable[[float], None] = time.sleep) -> Iterator[_T]:
    """The messages of a streamed answer, which is asked for again whenever the connection breaks.

    Args:
        open_call: Asks for what has not come yet.
        sleep: Waits between two tries.
    """
    tries = 0
    while True:
        try:
            for message in read(open_call()):
                tries = 0
                yield message
        except UnavailableError:
            tries += 1
            if tries > _FRUITLESS_TRIES:
                raise
            sleep(min(0.1 * 2**tries, _LONGEST_WAIT))
        else:
            return
