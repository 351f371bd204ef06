"""Gateways as processes of their own, on free ports, as users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.canary import CANARY_KEY, look_through

COMMAND = (sys.executable, "-m", "claude_grpc")
_CREDENTIALS = {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_GRPC_SECRETS_DIR"}


@dataclass(frozen=True)
class GatewayProcess:
    """A gateway that takes calls at ``target``; what it logs goes to the file ``log``."""

    target: str
    process: subprocess.Popen[str]
    log: Path


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without anything that would configure a gateway."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CLAUDE_GRPC_", "ANTHROPIC_", "OTEL_"))}
    return kept | variables


@contextmanager
def running_gateway(log: Path, *, key: str | None = CANARY_KEY, **variables: str) -> Iterator[GatewayProcess]:
    """A gateway with these environment variables, ended with the context if it has not ended by then.

    It has the key, unless the variables say where there is another; before the embedded simulator, unless they say what
    is upstream.
    """
    if key is not None and not variables.keys() & _CREDENTIALS:
        variables["ANTHROPIC_API_KEY"] = key
        if "ANTHROPIC_BASE_URL" not in variables:
            variables.setdefault("CLAUDE_GRPC_SIMULATOR", "always")
    with (
        log.open("w") as log_file,
        subprocess.Popen(
            [*COMMAND, "serve", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
            env=clean_environment(**variables),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("claude-grpc is listening on "), log.read_text()
            yield GatewayProcess(ready.rpartition(" ")[2].strip(), process, log)
        finally:
            process.kill()
            process.wait()
            # As `canary_watch` does for gateways in the tests' own process.
            look_through("the log of a process", log.read_text(errors="replace"))
