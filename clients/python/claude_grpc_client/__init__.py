"""A client for claude-grpc: Claude over gRPC, for asyncio and for threads.

It stands on the generated stubs in ``claude_grpc.v1``, whose messages go in and come out as they are, and knows nothing
of the gateway's inside.
"""

from claude_grpc_client.aio import AsyncClient, AsyncMessageStream
from claude_grpc_client.batches import Batches
from claude_grpc_client.errors import (
    AuthenticationError,
    CallCancelledError,
    ClaudeError,
    ConflictError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
    UnimplementedError,
    from_rpc_error,
)
from claude_grpc_client.events import text_of, thinking_of
from claude_grpc_client.files import Files
from claude_grpc_client.messages import Turn, turn, user
from claude_grpc_client.models import Models
from claude_grpc_client.sync import Client, MessageStream
from claude_grpc_client.timing import Timing

__all__ = [
    "AsyncClient",
    "AsyncMessageStream",
    "AuthenticationError",
    "Batches",
    "CallCancelledError",
    "ClaudeError",
    "Client",
    "ConflictError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "Files",
    "InternalError",
    "InvalidRequestError",
    "MessageStream",
    "Models",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "Timing",
    "Turn",
    "UnavailableError",
    "UnimplementedError",
    "from_rpc_error",
    "text_of",
    "thinking_of",
    "turn",
    "user",
]
