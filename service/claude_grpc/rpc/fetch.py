"""The way of the calls that are no conversation: a path is filled, and what comes back is decoded, or read as it comes.

Beside ``forward``, the only module that knows both the codec and upstream.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from google.protobuf.message import Message

from claude_grpc.codec import Decoder, Violations
from claude_grpc.codec.newer import refuse_newer_fields
from claude_grpc.codec.violations import Path
from claude_grpc.errors import UpstreamContext, UpstreamError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.deadline import DeadlinePolicy
from claude_grpc.rpc.headers import read_headers
from claude_grpc.rpc.options import read_options, refuse_for_messages_only
from claude_grpc.rpc.pages import list_query, next_page_token
from claude_grpc.telemetry.ledger import Phase
from claude_grpc.telemetry.model_calls import ModelCall
from claude_grpc.upstream import ByteStream, LineStream, StreamedBody, UpstreamClient, UpstreamRequest

__all__ = ["Fetch", "Resource"]

M = TypeVar("M", bound=Message)

_MOST_CHARACTERS = 256
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Resource(Generic[M]):
    """A thing of the API, and what is done with it.

    Attributes:
        method: Of HTTP.
        path: Of the URL; ``{name}`` stands for the request's field of that name.
        decoder: Makes messages of the answer: of the whole body, or of each line.
        filters: Of a list: name of a field to its key in the query.
    """

    method: str
    path: str
    decoder: Decoder[M]
    filters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Fetch:
    """Sends requests that name a thing, and brings back what the API says of it.

    All raise `RequestError` for a request that cannot be sent as it is, and `UpstreamError` for one that was not
    answered, or with an error.

    Args:
        client: The way to the Claude API.
        deadlines: When a call's time is up.
    """

    def __init__(self, client: UpstreamClient, deadlines: DeadlinePolicy | None = None) -> None:
        self._client = client
        self._deadlines = deadlines or DeadlinePolicy()

    def prepare(self, resource: Resource[M], request: Any, call: Call, *, part: str = "") -> UpstreamRequest:
        """What would be sent, without a body.

        Args:
            resource: What to ask for.
            request: The request, or its part that has the fields of the path and the headers.
            call: The caller's.
            part: Name of that part in the request.
        """
        call.telemetry.ledger.enter(Phase.ENCODE)
        violations = Violations()
        at: Path = (None, part) if part else None
        refuse_newer_fields(request, at, violations)
        headers = read_headers(request, violations, at)
        options = read_options(request.call_options, violations, at)
        refuse_for_messages_only(request.call_options, violations, at)
        path = _PLACE.sub(lambda place: _segment(request, place[1], at, violations), resource.path)
        if hasattr(request, "page_token"):  # it is a list's
            path += list_query(request, resource.filters, violations)
        violations.raise_if_any()
        return UpstreamRequest(
            method=resource.method,
            path=path,
            headers=headers,
            max_retries=options.max_retries,
            timeouts=options.timeouts,
            deadline=self._deadlines.upstream(call, options),
        )

    async def deliver(
        self, resource: Resource[M], prepared: UpstreamRequest, model_call: ModelCall
    ) -> tuple[M, UpstreamContext]:
        """The answer to what was prepared, decoded."""
        with model_call:
            response = await self._client.send(prepared, model_call.observer)
            model_call.answer_begins()
            try:
                return resource.decoder.decode(response.body), response.context
            except UpstreamError as error:
                error.context = response.context
                raise

    async def ask(self, resource: Resource[M], request: Any, call: Call) -> M:
        """The answer to a request that the gateway makes for itself, of which the caller is not told."""
        prepared = self.prepare(resource, request, call)
        answer, _ = await self.deliver(resource, prepared, call.telemetry.calls_upstream(call.operation))
        return answer

    async def send(self, resource: Resource[M], request: Any, call: Call) -> M:
        """The answer to a request, decoded."""
        return await self._send(resource, self.prepare(resource, request, call), call)

    async def upload(
        self, resource: Resource[M], prepared: UpstreamRequest, body: StreamedBody, content_type: str, call: Call
    ) -> M:
        """The answer to what was prepared, sent with a body."""
        headers = {**prepared.headers, "content-type": content_type}
        return await self._send(resource, replace(prepared, body=body, headers=headers), call)

    async def list(self, resource: Resource[M], request: Any, call: Call) -> M:
        """One page of a list."""
        page: Any = await self.send(resource, request, call)
        page.next_page_token = next_page_token(request, page)
        return page  # type: ignore[no-any-return] # it is the M that was decoded

    @asynccontextmanager
    async def lines(self, resource: Resource[M], request: Any, call: Call) -> AsyncIterator[LineStream]:
        """The answer line by line, not decoded; leaving closes the connection to upstream."""
        prepared = self.prepare(resource, request, call)
        with call.telemetry.calls_upstream(call.operation, streams=True) as model_call:
            async with await self._client.lines(prepared, model_call.observer) as stream:
                with _telling(stream, call, model_call):
                    yield stream

    @asynccontextmanager
    async def download(
        self, resource: Resource[M], request: Any, call: Call, *, offset: int = 0
    ) -> AsyncIterator[ByteStream]:
        """The answer as bytes, asked for from ``offset`` on; leaving closes the connection to upstream."""
        prepared = self.prepare(resource, request, call)
        if offset:
            prepared = replace(prepared, headers={**prepared.headers, "range": f"bytes={offset}-"})
        with call.telemetry.calls_upstream(call.operation, streams=True) as model_call:
            async with await self._client.download(prepared, model_call.observer) as stream:
                with _telling(stream, call, model_call):
                    yield stream

    async def _send(self, resource: Resource[M], prepared: UpstreamRequest, call: Call) -> M:
        model_call = call.telemetry.calls_upstream(call.operation)
        answer, context = await self.deliver(resource, prepared, model_call)
        call.answered(context)
        return answer


@contextmanager
def _telling(stream: ByteStream, call: Call, model_call: ModelCall) -> Iterator[None]:
    model_call.answer_begins()
    call.answered(stream.context)
    try:
        yield
    except UpstreamError as error:
        error.context = stream.context
        raise
    finally:
        model_call.waited(stream.waited, waits=stream.waits)


def _segment(request: Any, name: str, at: Path, violations: Violations) -> str:
    value: str = getattr(request, name)
    if not value:
        violations.add((at, name), "Required.")
    elif value in {".", ".."} or len(value) > _MOST_CHARACTERS:
        violations.add((at, name), f"Must be an id, of at most {_MOST_CHARACTERS} characters.")
    return quote(value, safe="")
