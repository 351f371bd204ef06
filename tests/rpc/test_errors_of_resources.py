"""What upstream says no to, of each method that is no conversation: the same row of the table for all of them."""

from __future__ import annotations

from socket import socket

import grpc
import pytest

from support.resource_methods import METHODS, ResourceMethod
from support.stack import Stack, drain, open_stack

Code = grpc.StatusCode

ANSWERS = {
    400: (Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    401: (Code.UNAUTHENTICATED, "AUTHENTICATION"),
    403: (Code.PERMISSION_DENIED, "PERMISSION"),
    404: (Code.NOT_FOUND, "NOT_FOUND"),
    409: (Code.ABORTED, "CONFLICT"),
    413: (Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"),
    429: (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT"),
    500: (Code.INTERNAL, "API_ERROR"),
    529: (Code.UNAVAILABLE, "OVERLOADED"),
}


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_a_method_ends_with_what_upstream_said(stack: Stack, method: ResourceMethod) -> None:
    for status, (code, reason) in ANSWERS.items():
        stack.simulator.script(f"error {status}")
        ended = await drain(method.call(stack))
        assert (ended.code, ended.info.reason, ended.events) == (code, reason, []), status
        assert (ended.info.domain, ended.info.metadata["httpStatus"]) == ("api.anthropic.com", str(status))
        assert ended.info.metadata["partial"] == "false"
        assert ended.trailers["request-id"] == ended.info.metadata["requestId"] != ""
        assert (ended.retry_seconds is not None) == (status in {429, 529})


async def test_what_found_no_upstream_can_be_tried_again() -> None:
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with open_stack(ANTHROPIC_BASE_URL=url) as stack:
            for method in METHODS:
                ended = await drain(method.call(stack))
                assert (ended.code, ended.info.reason) == (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"), str(method)
                assert ended.info.metadata["safeToRetry"] == "true"
                assert ended.retry_seconds is not None
