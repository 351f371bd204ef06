"""claude-grpc: a gRPC front door to the Claude API.

With the plain install this package holds the generated stubs (``claude_grpc.v1``); the ``[server]`` extra brings what
the gateway itself needs. Nothing is imported here, so that a caller pays only for the stubs.
"""

__version__ = "0.1.0"
