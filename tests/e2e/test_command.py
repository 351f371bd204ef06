"""The command as users run it: real processes, real ports."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from claude_grpc.config import Settings, variable
from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest
from claude_grpc.v1.gateway_pb2_grpc import GatewayServiceStub
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.canary import look_through
from support.processes import COMMAND, GatewayProcess, clean_environment, running_gateway
from support.stack import create, drain, stream


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    look_through("what a command tells", done.stderr)
    return done


def test_the_demo_prints_a_thinking_block_and_an_answer() -> None:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    thinking, _, answer = done.stdout.partition("[answer]")
    assert thinking.startswith("[thinking]")
    assert "sky" in answer
    assert "NO CLAUDE HERE" in done.stderr


async def test_without_a_key_the_simulator_answers_and_says_so(gateway_process: GatewayProcess) -> None:
    async with grpc.aio.insecure_channel(gateway_process.target) as channel:
        info = await GatewayServiceStub(channel).GetServerInfo(GetServerInfoRequest())  # type: ignore[no-untyped-call]
    assert info.simulated
    assert "NO CLAUDE HERE" in gateway_process.log.read_text()


def test_a_running_gateway_is_healthy_and_another_port_is_not(gateway_process: GatewayProcess) -> None:
    assert run("health", "--target", gateway_process.target).stdout == "SERVING\n"
    everywhere = gateway_process.target.replace("127.0.0.1", "0.0.0.0")
    assert run("health", "--service", "liveness", CLAUDE_GRPC_LISTEN=everywhere).stdout == "SERVING\n"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert run("health", "--target", f"127.0.0.1:{free.getsockname()[1]}").returncode == 1


def test_garbage_collections_leave_out_what_lives_as_long_as_the_gateway() -> None:
    program = "import gc, sys; from claude_grpc.__main__ import main; main(sys.argv[1:]); print(gc.get_freeze_count())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--listen", "127.0.0.1:0"],
        env=clean_environment(CLAUDE_GRPC_DRAIN_DELAY="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "is listening on" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert int(process.stdout.read()) > 50_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_a_stream_end_and_refuses_new_calls(tmp_path: Path, number: signal.Signals) -> None:
    with running_gateway(tmp_path / "log") as gateway:
        async with grpc.aio.insecure_channel(gateway.target) as channel:
            stub = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            running = stub.StreamMessage(stream("[[pace 0.05]] one two three four five six seven eight"))
            await anext(aiter(running))
            gateway.process.send_signal(number)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await watch.read() is grpc.aio.EOF
            while (refused := await drain(stub.CreateMessage(create()))).code is grpc.StatusCode.OK:
                pass  # the signal has come; the refusal begins a moment later
            assert refused.code is grpc.StatusCode.UNAVAILABLE
            ended = await drain(running)
            assert (ended.code, ended.types[-1]) == (grpc.StatusCode.OK, "message_stop")
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0


async def test_what_still_runs_after_the_grace_is_ended(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "log", CLAUDE_GRPC_DRAIN_GRACE="0.2") as gateway:
        async with grpc.aio.insecure_channel(gateway.target) as channel:
            running = MessagesServiceStub(channel).StreamMessage(stream("[[stall at=2]]"))  # type: ignore[no-untyped-call]
            await anext(aiter(running))
            gateway.process.terminate()
            assert (await drain(running)).code is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"CLAUDE_GRPC_LISTEN": "nowhere"}, "CLAUDE_GRPC_LISTEN: must be HOST:PORT"),
        ({"CLAUDE_GRPC_READ_TIMEOUT": "soon"}, "CLAUDE_GRPC_READ_TIMEOUT: "),
        ({"CLAUDE_GRPC_FALLBACK_MODELS": "canary"}, "CLAUDE_GRPC_FALLBACK_MODELS: must be JSON"),
        ({"CLAUDE_GRPC_FALLBACK_MODELS": '{"a": ["b c"]}'}, "CLAUDE_GRPC_FALLBACK_MODELS: "),
        ({"CLAUDE_GRPC_SIMULATOR": "never"}, "there is no ANTHROPIC_API_KEY"),
        ({"CLAUDE_GRPC_WORKERS": "2"}, "CLAUDE_GRPC_WORKERS: more than one need ANTHROPIC_API_KEY"),
        ({"ANTHROPIC_API_KEY": "a", "ANTHROPIC_AUTH_TOKEN": "b"}, "set one of them"),
        ({"ANTHROPIC_API_KEY": "canary\nkey"}, "ANTHROPIC_API_KEY: must be printable"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "host/path"}, "ANTHROPIC_BASE_URL: "),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://user:canary@host"}, "ANTHROPIC_BASE_URL: "),
        ({"CLAUDE_GRPC_SECRETS_DIR": "/no/such/folder"}, "CLAUDE_GRPC_SECRETS_DIR: "),
        ({"CLAUDE_GRPC_LISTN": "127.0.0.1:0"}, "CLAUDE_GRPC_LISTN: there is no such setting"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_clear_line(variables: dict[str, str], text: str) -> None:
    done = run("serve", **variables)
    assert done.returncode == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "canary" not in done.stderr


def test_grpc_gets_its_settings_before_it_is_loaded() -> None:
    script = (
        "import sys, os, claude_grpc.__main__ as command; assert 'grpc' not in sys.modules;"
        "command.main(['health', '--target', '127.0.0.1:1']); assert 'grpc' in sys.modules;"
        "print(os.environ['GRPC_EXPERIMENTS'])"
    )
    for told, expected in (({}, "-event_engine_listener,-event_engine_client"), ({"GRPC_EXPERIMENTS": "x"}, "x")):
        done = subprocess.run(
            [sys.executable, "-c", script], env=clean_environment(**told), capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
        # Of a name that grpc does not know it would say so here.
        assert ("Unknown experiment" in done.stderr) == bool(told)


def test_a_port_that_is_taken_stops_the_start(gateway_process: GatewayProcess) -> None:
    done = run("serve", "--listen", gateway_process.target)
    assert done.returncode == 2
    assert f"cannot listen on {gateway_process.target}" in done.stderr


def test_the_key_may_be_a_mounted_secret(tmp_path: Path) -> None:
    (tmp_path / "anthropic_api_key").write_text("canary-key\n")
    with running_gateway(
        tmp_path / "log", CLAUDE_GRPC_SECRETS_DIR=str(tmp_path), CLAUDE_GRPC_SIMULATOR="never"
    ) as gateway:
        assert run("health", "--target", gateway.target).returncode == 0
        assert "canary" not in gateway.log.read_text()


def test_help_explains_every_setting() -> None:
    text = run("serve", "--help").stdout
    for name, field in Settings.model_fields.items():
        assert f"  {variable(name)}\n" in text
        assert field.description


def test_the_simulator_runs_on_its_own() -> None:
    with subprocess.Popen(
        [*COMMAND, "simulate", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rpartition(" ")[2]
        assert url.startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in {0, 130}


async def test_each_call_is_one_line_of_the_log_without_its_content(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "log") as gateway:
        async with grpc.aio.insecure_channel(gateway.target) as channel:
            stub = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
            await drain(stub.CreateMessage(create("canary-question"), metadata=[("authorization", "canary-token")]))
            await drain(stub.StreamMessage(stream("canary-question [[error 529]]")))
        gateway.process.terminate()
        await asyncio.to_thread(gateway.process.wait, 20)
        text = gateway.log.read_text()
    calls = [line for line in map(json.loads, text.splitlines()) if line["logger"] == "claude_grpc.call"]
    assert [(line["method"].rpartition("/")[2], line["code"]) for line in calls] == [
        ("CreateMessage", "OK"),
        ("StreamMessage", "UNAVAILABLE"),
    ]
    assert all(line["request_id"].startswith("req_") for line in calls)
    assert "canary" not in text
