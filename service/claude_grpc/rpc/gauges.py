"""What the metrics ask of the gateway's machines, once a second: how full, how open, how much is left."""

from __future__ import annotations

from claude_grpc.rpc.admission import Admission
from claude_grpc.telemetry import names
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.telemetry.tally import Reading
from claude_grpc.upstream import BreakerState, UpstreamClient

__all__ = ["add_gauges"]

_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


def add_gauges(metrics: Metrics, admission: Admission, client: UpstreamClient) -> None:
    """Have the metrics tell of them."""

    def calls() -> Reading:
        load = admission.load
        return [(load.running, {names.STATE: names.STATE_RUNNING}), (load.queued, {names.STATE: names.STATE_QUEUED})]

    def breakers() -> Reading:
        worst: dict[str, int] = {}
        for breaker in client.breakers():
            model = metrics.model_label(breaker.name)
            worst[model] = max(worst.get(model, 0), _STATES[breaker.state])
        return [(state, {names.REQUEST_MODEL: model}) for model, state in worst.items()]

    metrics.gauge(names.METRIC_ADMISSION_CALLS, "Calls that run, and calls that wait to be let in.", "{call}", calls)
    metrics.gauge(
        names.METRIC_ADMISSION_BYTES, "Bytes of requests in memory.", "By", lambda: [(admission.load.bytes, {})]
    )
    metrics.gauge(
        names.METRIC_BREAKER_STATE,
        "Breakers of models that failed of late: 0 closed, 1 half-open, 2 open.",
        "{state}",
        breakers,
    )
    metrics.gauge(
        names.METRIC_RETRY_BUDGET,
        "Share of the retry budget that is left; no retries at a half or less.",
        "{share}",
        lambda: [(client.retry_budget_left, {})],
    )
