"""The command ``claude-grpc``: reads the command line and hands over to whoever does the work."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from claude_grpc import __version__

__all__ = ["GRPC_ENVIRONMENT", "main"]

GRPC_ENVIRONMENT: Mapping[str, str] = {
    # Forking is nothing we do; the handlers for it cost every call.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # Its newer engine for I/O costs a fifth more for each message of a stream; `make bench` measures it.
    "GRPC_EXPERIMENTS": "-event_engine_listener,-event_engine_client",
}
"""How grpc is to run, unless the environment says otherwise. Must be set before it is first imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status comes back: 0, 1 for a failure, 2 for a wrong command line or setting."""
    for name, value in GRPC_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    parser = argparse.ArgumentParser(prog="claude-grpc", description="A gRPC front door to the Claude API.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_simulate(commands)
    _add_client(commands)
    _add_health(commands)
    _add_demo(commands)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("claude_grpc"):
            raise
        return _fail(f"{error.name} is missing; this command needs: pip install 'claude-grpc[server]'")
    return status


_Commands = argparse._SubParsersAction  # noqa: SLF001 # argparse names this type nowhere else


def _add_serve(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "serve",
        help="start the gateway",
        description="Start the gateway. Without a key it serves answers of the embedded simulator.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_settings_help(),
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to serve (default 127.0.0.1:50051)")
    parser.add_argument("--workers", metavar="N", type=int, help="processes that share the port (default 1)")
    # How the supervisor starts a worker.
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_serve)


def _add_simulate(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("simulate", help="start the simulator of the Claude API, over HTTP")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:8080", help="where to serve (default %(default)s)"
    )
    parser.set_defaults(run=_simulate)


def _add_client(commands: _Commands[argparse.ArgumentParser]) -> None:
    from claude_grpc_client import ask, resources

    parser = commands.add_parser("ask", help="ask Claude through a gateway and stream the answer")
    ask.add_arguments(parser)
    parser.set_defaults(run=ask.run)
    resources.add_commands(commands)


def _add_health(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("health", help="ask a gateway whether it serves")
    parser.add_argument("--target", metavar="HOST:PORT", help="default: where `serve` would listen with these settings")
    parser.add_argument("--service", default="", help="health service to ask for, such as readiness or liveness")
    parser.set_defaults(run=_health)


def _add_demo(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="start a gateway, ask it a question, stop it")
    parser.set_defaults(run=_demo)


def _settings_help() -> str:
    try:
        from claude_grpc.config import describe_settings
    except ImportError:
        return ""
    return describe_settings()


def _serve(arguments: argparse.Namespace) -> int:
    from claude_grpc.config import ConfigurationError, load_settings
    from claude_grpc.telemetry.logs import configure_logging

    given = {name: value for name in ("listen", "workers") if (value := getattr(arguments, name)) is not None}
    try:
        settings = load_settings(**given)
        configure_logging(settings.log_level, settings.log_format)
        if settings.workers > 1 and not arguments.worker:
            from claude_grpc.supervisor import supervise

            return asyncio.run(supervise(settings))
        from claude_grpc.server import serve

        _give_back_large_blocks()
        _run(serve(settings, supervised=arguments.worker))
    except ConfigurationError as error:
        return _fail(str(error), status=2)
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    from claude_grpc import simulator

    host, _, port = arguments.listen.rpartition(":")
    if not port.isdigit():
        return _fail("--listen must be HOST:PORT, such as 127.0.0.1:8080", status=2)
    try:
        options = simulator.SimulatorOptions(delta_interval=0.02, batch_retry_after=1)
        _run(simulator.run(host.strip("[]"), int(port), options, started=_tell_simulator))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return _fail(f"cannot listen on {arguments.listen}: {error.strerror}", status=2)
    return 0


def _tell_simulator(url: str) -> None:
    print(f"The simulator of the Claude API is at {url}", flush=True)


def _health(arguments: argparse.Namespace) -> int:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from claude_grpc.config import ConfigurationError, load_settings

    try:
        target = arguments.target or load_settings().local_target
    except ConfigurationError as error:
        return _fail(str(error), status=2)
    with grpc.insecure_channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=arguments.service), timeout=5
            )
        except grpc.RpcError as error:
            return _fail(f"{target} gave no answer: {error.code().name}")
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    print(name)
    return 0 if name == "SERVING" else 1


def _demo(arguments: argparse.Namespace) -> int:  # noqa: ARG001 # it has none
    from claude_grpc.demo import run_demo

    return run_demo()


def _run(coroutine: object) -> None:
    import uvloop

    uvloop.run(coroutine)  # type: ignore[arg-type]


def _give_back_large_blocks() -> None:
    """Have glibc return memory of a mebibyte and more to the system as soon as it is freed.

    By itself it would learn from the first large request to keep such blocks, and the process would stay at its peak.
    """
    import ctypes

    mmap_threshold = -3
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(mmap_threshold, 1024 * 1024)


def _fail(message: str, status: int = 1) -> int:
    print(f"claude-grpc: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
