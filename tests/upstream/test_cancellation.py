"""A call that is cancelled, or a stream that is left, closes its connection at once, whatever it was waiting for."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from claude_grpc.errors import UpstreamConnectionError
from claude_grpc.upstream import Endpoint, UpstreamClient, UpstreamRequest, make_transport

CREATE = UpstreamRequest(method="POST", path="/v1/messages", body=b"{}")
# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
Script = Callable[[Any, asyncio.Event], Awaitable[None]]


async def waits_for_a_tls_handshake(peer: Any, reached: asyncio.Event) -> None:
    await peer.take()
    reached.set()
    await peer.stall()


async def waits_for_headers(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    reached.set()
    await peer.stall()


async def waits_for_the_rest_of_headers(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/ev")
    reached.set()
    await peer.stall()


async def waits_for_an_error_body(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    peer.respond(529, b"half", {"content-length": "500"})
    reached.set()
    await peer.stall()


async def waits_for_a_body(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    peer.respond(200, b"half", {"content-length": "500"})
    reached.set()
    await peer.stall()


async def waits_for_the_first_event(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    peer.start_events()
    reached.set()
    await peer.stall()


async def waits_within_a_stream(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    peer.start_events()
    peer.send_chunk(b"data: 1\n\ndata: 2")
    reached.set()
    await peer.stall()


async def sends_without_end(peer: Any, reached: asyncio.Event) -> None:
    await peer.request()
    peer.start_events()
    while not peer.closed.done():
        peer.send_chunk(b"data: 1\n\n")
        reached.set()
        await asyncio.sleep(0)


async def read(client: UpstreamClient, kind: str) -> None:
    if kind == "send":
        await client.send(CREATE)
        return
    async with await client.stream(CREATE) as stream:
        async for _ in stream:
            pass


async def fail_within_a_stream(client: UpstreamClient) -> None:
    async with await client.stream(CREATE) as stream:
        await anext(stream)
        raise LookupError


@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        (waits_for_headers, ["send", "stream"]),
        (waits_for_the_rest_of_headers, ["send", "stream"]),
        (waits_for_an_error_body, ["send", "stream"]),
        (waits_for_a_body, ["send"]),
        (waits_for_the_first_event, ["stream"]),
        (waits_within_a_stream, ["stream"]),
        (sends_without_end, ["stream"]),
    ],
)
async def test_a_cancel_closes_the_connection(serve: Any, connect: Any, script: Script, kinds: list[str]) -> None:
    for kind in kinds:
        reached = asyncio.Event()
        upstream = await serve(bind(script, reached))
        await cancelled(asyncio.ensure_future(read(connect(upstream), kind)), upstream, reached)


@pytest.mark.parametrize("kind", ["send", "stream"])
async def test_a_cancel_in_the_tls_handshake_closes_the_connection(
    serve: Any, connect: Any, engine: Any, kind: str
) -> None:
    if engine == "httpx":
        pytest.skip("httpcore keeps the socket of a cancelled handshake until the other side closes it")
    reached = asyncio.Event()
    upstream = await serve(bind(waits_for_a_tls_handshake, reached))
    client = connect(upstream, endpoint=Endpoint(f"https://{upstream.netloc}"))
    await cancelled(asyncio.ensure_future(read(client, kind)), upstream, reached)


async def test_a_cancel_while_the_request_is_sent_sends_no_more_of_it(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        peer.transport.pause_reading()
        paused.set()
        await asyncio.shield(cancel.wait())
        peer.transport.resume_reading()
        await peer.stall()

    paused, cancel = asyncio.Event(), asyncio.Event()
    body = bytes(32 * 1024 * 1024)
    upstream = await serve(script)
    call = asyncio.ensure_future(connect(upstream).send(UpstreamRequest(method="POST", path="/", body=body)))
    peer = await upstream.peer()
    await paused.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    cancel.set()
    async with asyncio.timeout(10):
        await peer.closed
    assert peer.received < len(body)


async def test_a_cancel_while_waiting_for_a_free_connection_leaves_the_queue(
    serve: Any, connect: Any, engine: Any
) -> None:
    transport = make_transport(engine, max_connections=1)
    reached = asyncio.Event()
    upstream = await serve(bind(waits_within_a_stream, reached))
    client = connect(upstream, transport=transport)
    async with await client.stream(CREATE) as stream:
        await anext(stream)
        queued = asyncio.ensure_future(read(client, "send"))
        await asyncio.sleep(0)
        queued.cancel()
        await asyncio.wait([queued])
        assert queued.cancelled()
    async with await client.stream(CREATE) as stream:
        await anext(stream)
    await transport.aclose()


async def test_a_cancel_in_the_backoff_makes_no_further_attempt(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(529)
        await peer.stall()

    async def sleep(seconds: float) -> None:
        del seconds
        reached.set()
        await asyncio.Event().wait()

    reached = asyncio.Event()
    upstream = await serve(script)
    call = asyncio.ensure_future(connect(upstream, sleep=sleep).send(CREATE))
    await reached.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await upstream.peer()
    assert upstream.unseen() == 0


@pytest.mark.parametrize("how", ["return", "raise", "close"])
@pytest.mark.parametrize("script", [waits_within_a_stream, sends_without_end])
async def test_leaving_a_stream_closes_the_connection(serve: Any, connect: Any, script: Script, how: str) -> None:
    upstream = await serve(bind(script, asyncio.Event()))
    client = connect(upstream)
    if how == "close":
        opened = await client.stream(CREATE)
        await anext(await opened.__aenter__())
        await client.aclose()
        await opened.__aexit__(None, None, None)
    elif how == "return":
        async with await client.stream(CREATE) as stream:
            await anext(stream)
    else:
        with pytest.raises(LookupError):
            await fail_within_a_stream(client)
    left = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        assert await (await upstream.peer()).closed - left < AT_ONCE


async def test_a_cancel_leaves_other_streams_alone(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        peer.send_chunk(b"data: 1\n\n")
        await go_on.wait()
        peer.send_chunk(b"data: 2\n\n")
        peer.end_chunks()
        await peer.stall()

    go_on = asyncio.Event()
    upstream = await serve(script)
    client = connect(upstream)
    async with await client.stream(CREATE) as kept:
        await anext(kept)
        kept_peer = await upstream.peer()
        call = asyncio.ensure_future(read(client, "stream"))
        peer = await upstream.peer()
        call.cancel()
        async with asyncio.timeout(10):
            await peer.closed
        go_on.set()
        assert [event.data async for events in kept for event in events] == [b"2"]
        assert not kept_peer.closed.done()


class TestOverTLS:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        if shutil.which("openssl") is None:
            pytest.skip("makes its certificate with openssl, which is not here")
        path = tmp_path / "certificate.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(tmp_path / "key.pem")]
        subprocess.run(["openssl", "req", "-x509", *key, "-out", str(path), *subject], check=True, capture_output=True)
        return path

    @pytest.fixture
    def server_tls(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
        return context

    async def test_a_certificate_that_nobody_signed_is_refused(
        self, serve: Any, connect: Any, server_tls: ssl.SSLContext
    ) -> None:
        upstream = await serve(bind(waits_for_headers, asyncio.Event()), server_tls)
        with pytest.raises(UpstreamConnectionError):
            await connect(upstream).send(CREATE)
        assert upstream.unseen() == 0

    @pytest.mark.parametrize("script", [waits_for_headers, waits_within_a_stream, sends_without_end])
    async def test_a_cancel_closes_the_connection(
        self,
        *,
        serve: Any,
        connect: Any,
        engine: Any,
        certificate: Path,
        server_tls: ssl.SSLContext,
        script: Script,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        transport = make_transport(engine)
        reached = asyncio.Event()
        upstream = await serve(bind(script, reached), server_tls)
        client = connect(upstream, transport=transport)
        await cancelled(asyncio.ensure_future(read(client, "stream")), upstream, reached)
        await transport.aclose()

    @pytest.mark.parametrize("script", [waits_for_headers, waits_within_a_stream])
    async def test_a_cancel_does_not_wait_for_the_peers_farewell(
        self,
        *,
        serve: Any,
        connect: Any,
        engine: Any,
        certificate: Path,
        server_tls: ssl.SSLContext,
        script: Script,
    ) -> None:
        async def relay(peer: Any) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
            back = asyncio.ensure_future(forward(reader, peer))
            try:
                # Nothing that the client says after its request is heard, so nobody answers its close_notify.
                while data := await peer.take():
                    if not reached.is_set():
                        writer.write(data)
            finally:
                back.cancel()
                writer.transport.abort()

        reached = asyncio.Event()
        upstream = await serve(bind(script, reached), server_tls)
        between = await serve(relay)
        transport = make_transport(engine, tls=ssl.create_default_context(cafile=certificate))
        client = connect(upstream, transport=transport, endpoint=Endpoint(f"https://{between.netloc}"))
        await cancelled(asyncio.ensure_future(read(client, "stream")), between, reached)
        await transport.aclose()


async def forward(reader: asyncio.StreamReader, peer: Any) -> None:
    while data := await reader.read(65536):
        peer.send(data)


def bind(script: Script, reached: asyncio.Event) -> Callable[[Any], Awaitable[None]]:
    return lambda peer: script(peer, reached)


async def cancelled(call: asyncio.Future[None], upstream: Any, reached: asyncio.Event) -> None:
    """Cancel ``call`` where it waits, and see its connection closed."""
    async with asyncio.timeout(10):
        await reached.wait()
        # Let it read what was sent before.
        for _ in range(20):
            await asyncio.sleep(0)
        assert not call.done()
        call.cancel()
        at = asyncio.get_running_loop().time()
        assert await (await upstream.peer()).closed - at < AT_ONCE
        await asyncio.wait([call])
    assert call.cancelled()
