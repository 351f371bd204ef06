"""A request to a resource on its way: which handler it is for, what the handler sees of it, and how it answers."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from .delivery import ENDINGS, Delivery
from .errors import ApiError
from .faults import Directives
from .headers import Caller
from .raw_json import ODD_JSON
from .request_body import RequestBody
from .shapes import FUTURE_FIELD

__all__ = ["PATIENCE", "Call", "Handler", "Router", "Routes"]

Handler = Callable[..., Awaitable[web.StreamResponse]]
# "METHOD /path/{name}" → the handler, which takes the call and the names.
Routes = Mapping[str, Handler]

# For so many seconds the loop may be kept from its other work.
PATIENCE = 0.005
_LINES_BYTES = 16 * 1024


@dataclass(frozen=True)
class Call:
    """One request to a resource, its headers checked and its body not yet read."""

    request: web.Request
    delivery: Delivery
    caller: Caller
    asked: Directives
    body: RequestBody

    @property
    def query(self) -> MultiMapping[str]:
        """The parameters in the URL."""
        return self.request.query

    async def send(
        self, value: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})
    ) -> web.StreamResponse:
        """Answer with an object."""
        odd = {FUTURE_FIELD: ODD_JSON} if "extra-field" in self.asked else {}
        held = {"data": [entry | odd for entry in value["data"]]} if "data" in value else {}
        return await self.delivery.send_json({**value, **held, **odd}, self.asked, headers)

    async def send_lines(self, lines: Iterable[bytes], content_type: str) -> web.StreamResponse:
        """Answer with lines, each with its end; an ending that was asked for counts them."""
        ends = any(name in self.asked for name in ENDINGS)
        return await self.delivery.send_chunks(lines if ends else _gather(lines), content_type, self.asked)

    async def send_content(self, chunks: Iterable[bytes], size: int, content_type: str) -> web.StreamResponse:
        """Answer with bytes; an ending that was asked for counts them."""
        return await self.delivery.send_content(chunks, size, content_type, self.asked)


class Router:
    """Finds the handler of a request."""

    def __init__(self, *tables: Routes) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        for route, handler in (entry for table in tables for entry in table.items()):
            method, _, path = route.partition(" ")
            self._routes.append((method, re.compile(re.sub(r"{\w+}", "([^/]+)", path)), handler))

    def find(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        """Return the handler and the names in the path.

        Raises:
            ApiError: 404 for the path, 405 for the method.
        """
        known = False
        for routed, pattern, handler in self._routes:
            if found := pattern.fullmatch(path):
                if routed == method:
                    return handler, found.groups()
                known = True
        raise ApiError(405, "Method Not Allowed") if known else ApiError(404, "Not Found")


def _gather(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to chunks of a size that is worth a write, or of what can be made while others wait."""
    chunk, since = bytearray(), time.monotonic()
    for line in lines:
        chunk += line
        if len(chunk) >= _LINES_BYTES or time.monotonic() - since > PATIENCE:
            yield bytes(chunk)
            chunk.clear()
            since = time.monotonic()
    if chunk:
        yield bytes(chunk)
