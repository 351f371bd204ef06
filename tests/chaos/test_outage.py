"""An outage upstream is not multiplied, and when it is over all is soon well."""

from __future__ import annotations

import grpc
import pytest

from chaos.load import Outcome, ask, offer
from chaos.process import measured_gateway
from chaos.upstream import Answer, NumberedUpstream

# A budget of which half is used up by so many failures.
BUDGET = 40


def told(outcomes: list[Outcome]) -> str:
    attempts = sum(outcome.attempts for outcome in outcomes)
    return f"{len(outcomes)} calls, {attempts} attempts ({attempts / len(outcomes):.2f} a call)"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("breaker", [0, 10], ids=["breaker off", "breaker on"])
@pytest.mark.parametrize("failure", [529, 0], ids=["overloaded", "reset"])
async def test_a_full_outage(failure: int, breaker: int, at_length: bool) -> None:
    rate, seconds, recovery = (100, 20, 12) if at_length else (60, 1, 2.5)
    breakers = {"breaker_failures": breaker, "breaker_pause": 3 if at_length else 1}
    down = False
    async with (
        NumberedUpstream(lambda _: Answer(status=failure) if down else Answer(before=0.02)) as upstream,
        measured_gateway(upstream.address, retry_budget=BUDGET, **breakers) as gateway,
        grpc.aio.insecure_channel(gateway.target) as channel,
    ):
        assert all(outcome.ok for outcome in await offer(rate, 0.5, lambda: ask(channel)))
        down = True
        using_up = await offer(rate, BUDGET / rate, lambda: ask(channel))
        requests = upstream.requests
        outage = await offer(rate, seconds, lambda: ask(channel))
        requests = upstream.requests - requests
        down = False
        after = await offer(rate, recovery, lambda: ask(channel))
    assert not any(outcome.ok for outcome in using_up + outage)
    recovered = max((outcome.began for outcome in after if not outcome.ok), default=0.0)
    print(f"\nfirst {told(using_up)}; then {told(outage)}, {requests} seen upstream; well after {recovered:.1f} s")
    assert sum(outcome.attempts for outcome in outage) <= requests <= 1.1 * len(outage)
    assert recovered < (10 if at_length else 2.4)
