"""A simulator from its start to its stop, and what a test asks of it in between."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Self

from aiohttp import web

from .app import Api
from .exchanges import Exchange
from .faults import RawAnswer, read_script
from .file_contents import Content, StoredFile
from .options import SimulatorOptions

__all__ = ["Simulator", "run"]

# Streams that run on when the simulator stops are not waited for.
_STOP_SECONDS = 0.01


class Simulator:
    """A Claude API on a port of its own, for as long as the ``async with`` lasts.

    How to make it fail stands in the docstring of ``faults``.
    """

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self._options = options or SimulatorOptions()
        self._api = Api(self._options)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen; raises OSError when the port is taken."""
        app = web.Application(client_max_size=self._options.max_body_bytes)
        app.router.add_route("*", "/{path:.*}", self._api.handle)
        # The handler's cancellation is how a stream learns that its client is gone.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._options.host, self._options.port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the simulator is not running")
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def base_url(self) -> str:
        """What a client takes as ``ANTHROPIC_BASE_URL``."""
        host = self._options.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def requests(self) -> deque[Exchange]:
        """The last exchanges, oldest first; each stands here as soon as its request body was read.

        One to a resource (batches, files, models, skills) does so as soon as its headers were read.
        """
        return self._api.log.exchanges

    @property
    def usage(self) -> Counter[str]:
        """The tokens that all answers to messages have told of, by their names in ``usage``; not a batch's results."""
        return self._api.usage

    @property
    def open_connections(self) -> int:
        """How many connections clients hold open, idle ones too."""
        server = self._runner.server if self._runner else None
        return sum(connection.transport is not None for connection in server.connections) if server else 0

    def script(self, *faults: str | RawAnswer, path: str = "*") -> None:
        """Say what happens to the next requests, one entry a request, first come first served.

        An entry is a directive of ``faults`` (``"cut at=5"``; several in double brackets), a raw answer, or "" for
        nothing out of the ordinary. Entries with a path (``"*/results"``) wait for requests whose path matches.

        Raises:
            ValueError: there is no such directive.
        """
        scripts = [fault if isinstance(fault, RawAnswer) else read_script(fault) for fault in faults]
        self._api.scripts.extend((path, script) for script in scripts)

    @property
    def files(self) -> Mapping[str, StoredFile]:
        """The files that are kept, by their ids, oldest first."""
        return {file.id: file for file in self._api.files}

    def add_file(
        self,
        filename: str,
        content: bytes | int,
        mime_type: str = "application/octet-stream",
        *,
        downloadable: bool = True,
        expires_in: float | None = None,
    ) -> StoredFile:
        """Keep a file as a tool of the API makes them; a size for a content stands for ``generated_content``."""
        made = Content.of(content)
        self._api.quota.take(made.kept)
        return self._api.files.add(filename, mime_type, made, downloadable=downloadable, expires_in=expires_in)

    def advance_batches(self, fraction: float = 1.0) -> None:
        """Do a part of the work of each batch, by default all of it; one that is being canceled ends."""
        self._api.batches.advance(fraction)

    def pass_time(self, seconds: float) -> None:
        """Move the simulator's clock: files expire, batches do after a day, their results are gone after 29."""
        self._api.clock.advance(seconds)

    async def wait_request(self, count: int = 1) -> Exchange:
        """Wait until ``count`` requests have come since the start, and return the last of these."""
        return await self._api.log.wait_for(count)

    async def wait_closed(self, exchange: Exchange) -> Exchange:
        """Wait until an exchange has ended, by its answer's end or by the client's going, and return it."""
        await exchange.wait_closed()
        return exchange


async def run(
    host: str,
    port: int,
    options: SimulatorOptions | None = None,
    *,
    started: Callable[[str], None] | None = None,
) -> None:
    """Run a simulator until cancelled; ``started`` is told its URL. Prints nothing and keeps no request."""
    options = replace(options or SimulatorOptions(), host=host, port=port, history=0)
    async with Simulator(options) as simulator:
        if started is not None:
            started(simulator.base_url)
        await asyncio.Event().wait()
