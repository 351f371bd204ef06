"""How both engines make connections, share them and let them go: limits, proxies, the environment."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from claude_grpc.upstream import environment_proxy, make_transport
from claude_grpc.upstream.aiohttp_response import _seen
from support.http import post, read_all


async def test_a_connection_that_does_not_come_about_is_a_connect_timeout(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.stall()  # takes the TCP connection and never answers the TLS handshake

    upstream = await serve(script)
    with pytest.raises(httpx.ConnectTimeout):
        await transport.send(post(f"https://{upstream.netloc}", connect=0.1))
    await closes(await upstream.peer())


async def test_a_refused_connection_is_a_connect_error(transport: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(httpx.ConnectError):
            await transport.send(post(url))


async def test_a_name_that_nobody_knows_is_a_connect_error(transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(httpx.ConnectError):
        await transport.send(post("http://nobody.invalid"))


async def test_requests_above_the_limit_wait_for_a_free_connection(serve: Any, engine: Any) -> None:
    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.start_events()
            peer.send_chunk(b"one")
            await end.wait()
            peer.end_chunks()

    end = asyncio.Event()
    upstream = await serve(script)
    transport = make_transport(engine, max_connections=1)
    response = await transport.send(post(upstream.url))
    with pytest.raises(httpx.PoolTimeout):
        await transport.send(post(upstream.url, pool=0.05))
    waiting = asyncio.ensure_future(transport.send(post(upstream.url)))
    end.set()
    assert await read_all(response) == b"one"
    assert await read_all(await waiting) == b"one"
    await transport.aclose()


@pytest.mark.parametrize("failing", ["cancel", "leave", "timeout", "refused"])
async def test_a_failed_request_gives_its_place_back(serve: Any, engine: Any, failing: str) -> None:
    async def script(peer: Any) -> None:
        request = await peer.request()
        if "silent" in request.line:
            await peer.stall()
            return
        peer.start_events()
        peer.send_chunk(b"one")
        peer.end_chunks() if "end" in request.line else await peer.stall()

    upstream = await serve(script)
    transport = make_transport(engine, max_connections=1)
    if failing == "cancel":
        call = asyncio.ensure_future(transport.send(post(upstream.url + "/silent")))
        await upstream.peer()
        call.cancel()
        await asyncio.wait([call])
    elif failing == "leave":
        await (await transport.send(post(upstream.url))).aclose()
    elif failing == "timeout":
        with pytest.raises(httpx.ReadTimeout):
            await transport.send(post(upstream.url + "/silent", read=0.05))
    else:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(httpx.ConnectError):
                await transport.send(post(f"http://127.0.0.1:{bound.getsockname()[1]}"))
    assert await read_all(await transport.send(post(upstream.url + "/end"))) == b"one"
    await transport.aclose()


async def test_a_proxy_is_used_with_its_credentials(serve: Any, engine: Any) -> None:
    received = asyncio.get_running_loop().create_future()

    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200)

    proxy = await serve(script)
    transport = make_transport(engine, proxy=f"http://user:pass@{proxy.netloc}")
    await read_all(await transport.send(post("http://upstream.invalid/v1/messages")))
    await transport.aclose()
    request = await received
    assert request.line == "POST http://upstream.invalid/v1/messages HTTP/1.1"
    assert request.header("host") == "upstream.invalid"
    assert request.header("proxy-authorization") == "Basic dXNlcjpwYXNz"


async def test_a_proxy_that_refuses_a_tunnel_is_a_proxy_error(serve: Any, engine: Any) -> None:
    async def script(peer: Any) -> None:
        request = await peer.request()
        assert request.line == "CONNECT upstream.invalid:443 HTTP/1.1"
        peer.respond(407)

    proxy = await serve(script)
    transport = make_transport(engine, proxy=proxy.url)
    with pytest.raises(httpx.ProxyError):
        await transport.send(post("https://upstream.invalid"))
    await transport.aclose()


async def test_a_netrc_file_changes_no_header(
    serve: Any, transport: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200)

    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password pass\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    received = asyncio.get_running_loop().create_future()
    upstream = await serve(script)
    await read_all(await transport.send(post(upstream.url)))
    assert (await received).header("authorization") is None


async def test_a_header_that_no_request_can_have_is_refused_and_its_place_given_back(serve: Any, engine: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200)

    upstream = await serve(script)
    transport = make_transport(engine, max_connections=1)
    with pytest.raises((ValueError, httpx.LocalProtocolError)):
        await transport.send(post(upstream.url, headers={"x-one": "a\r\nx-two: b"}))
    await read_all(await transport.send(post(upstream.url)))
    await transport.aclose()


async def test_only_http_is_spoken(transport: Any) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.send(post("ftp://127.0.0.1"))


async def test_the_end_of_a_connection_that_nobody_uses_is_not_reported(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.start_events()
            peer.send_chunk(b"one")
            await go_on.wait()
            peer.end_chunks()

    async def exchange() -> None:
        go_on.clear()
        response = await transport.send(post(upstream.url))
        go_on.set()
        assert await read_all(response) == b"one"

    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    go_on = asyncio.Event()
    upstream = await serve(script)
    await exchange()
    await exchange()
    peer = await upstream.peer()
    peer.reset()
    await closes(peer)
    await turns()
    await exchange()
    gc.collect()
    assert reports == []


async def test_nor_is_a_close_that_was_cancelled() -> None:
    closed = asyncio.get_running_loop().create_future()
    closed.cancel()
    _seen(closed)


async def test_a_transport_that_sent_nothing_can_be_closed(engine: Any) -> None:
    await make_transport(engine).aclose()


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.example", {}, None),
        ("https://a.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"http_proxy": "http://p:1"}, None),
        ("http://a.example", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"all_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "example"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "a.example:444"}, "http://p:1"),
        ("https://a.example:444", {"https_proxy": "http://p:1", "no_proxy": "a.example:444"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "*"}, None),
    ],
)
def test_the_environment_names_the_proxy(
    url: str, environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(url) == proxy


def test_a_proxy_of_another_kind_is_refused_at_the_start(engine: Any) -> None:
    with pytest.raises(ValueError, match=r"^the proxy must be an http or https URL$"):
        make_transport(engine, proxy="socks5://user:pass@127.0.0.1:1080")


async def closes(peer: Any) -> None:
    async with asyncio.timeout(10):
        await peer.closed


async def turns() -> None:
    """Let the loop read what the loopback has delivered."""
    for _ in range(20):
        await asyncio.sleep(0)
