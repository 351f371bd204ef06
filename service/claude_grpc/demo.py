"""``claude-grpc demo``: the main job, once, as a user would see it.

Starts a gateway as a process of its own on a free port, asks it a question that makes it think, and stops it as an
orchestrator would. With a key in the environment Claude answers, without one the simulator does.
"""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["run_demo"]

_QUIET = {"CLAUDE_GRPC_LOG_LEVEL": "warning", "CLAUDE_GRPC_LOG_FORMAT": "text"}
_QUESTION = "Why is the sky blue, in two sentences?"


def run_demo() -> int:
    """Run the demo; its exit status comes back."""
    command = [sys.executable, "-m", "claude_grpc"]
    serve = [*command, "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=os.environ | _QUIET) as gateway:  # noqa: S603 # our own command
        try:
            assert gateway.stdout is not None  # noqa: S101 # a pipe was asked for
            # The gateway tells its address in one line once it takes calls; if it cannot start, it tells why itself.
            target = gateway.stdout.readline().strip().rpartition(" ")[2]
            if not target:
                return gateway.wait()
            ask = [*command, "ask", "--target", target, "--thinking", "2048", _QUESTION]
            return subprocess.run(ask, check=False).returncode  # noqa: S603 # our own command
        finally:
            gateway.terminate()
