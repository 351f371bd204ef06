"""A collector that takes OTLP over HTTP and keeps nothing, or is in trouble: takes, refused, black-hole, slow, fails.

Prints where it is.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from aiohttp import web

_SLOW_SECONDS = 1.5


async def serve(trouble: str) -> None:
    """Serve until killed."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    if trouble == "refused":
        server.close()
    elif trouble != "black-hole":

        async def export(request: web.Request) -> web.Response:
            await request.read()
            await asyncio.sleep(_SLOW_SECONDS if trouble == "slow" else 0)
            return web.Response(status=503 if trouble == "fails" else 200)

        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/{signal}", export)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, server).start()
    print(f"http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
