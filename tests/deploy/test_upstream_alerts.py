"""Each way in which an attempt may end is told by the alert that is about it, or is nobody's fault upstream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from claude_grpc.errors import UpstreamStatusError
from claude_grpc.telemetry.error_types import _WORDS, error_type
from claude_grpc.upstream.failures import _TIMEOUTS
from claude_grpc.upstream.outcome import _STATUS_OF_TYPE, outcome_of

FAILING: Final = "ClaudeGrpcUpstreamFailing"
LIMITED: Final = "ClaudeGrpcRateLimited"
RULES: Final = Path(__file__).parents[2] / "deploy" / "telemetry" / "alerts.yaml"
MATCHER: Final = re.compile(r'claude_grpc_outcome(=~|!~)"([^"]+)"')

# All that the API documents, and one that it does not.
API_TYPES: Final = (*_STATUS_OF_TYPE, "api_error", "unheard_of_error")
WORDS: Final = sorted({word for _, word in _WORDS} | {f"{phase}_timeout" for _, phase, _ in _TIMEOUTS})
STATUSES: Final = ("408", "500", "502", "503", "504", "520", "529")

# Ends that are neither the API's fault nor the network's, and why.
INNOCENT: Final = {
    "200": "It went well.",
    "breaker_open": "Nothing was sent; it has an alert of its own.",
    "cancelled": "The caller left.",
    "deadline_exceeded": "The caller's time was up, however short it was; ClaudeGrpcFailing counts it.",
    "invalid_request": "The caller's upload was wrong.",
    "400": "The caller's request was wrong.",
    "408": "The request came slowly, as an upload does whose caller is slow.",
    "request_too_large": "So it was.",
    "invalid_request_error": "So it was.",
    "not_found_error": "The caller named what is not there.",
    "conflict_error": "Another caller was faster.",
    "authentication_error": "The key is wrong: ours to mend, and no outage.",
    "billing_error": "Nobody has paid.",
    "permission_error": "The key may not do that.",
}


def _alerts(outcome: str) -> set[str]:
    """The alerts that count an outcome."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found = set()
    for rule in group["rules"]:
        matchers = MATCHER.findall(rule["expr"])
        if matchers and all(bool(re.fullmatch(words, outcome)) is (kind == "=~") for kind, words in matchers):
            found.add(rule["alert"])
    return found


def _expected() -> Iterator[tuple[str, set[str]]]:
    for outcome in (*WORDS, *STATUSES):
        yield outcome, set() if outcome in INNOCENT else {FAILING}
    for kind in API_TYPES:
        error = UpstreamStatusError("", http_status=200, error_type=kind)
        status = outcome_of(error).status or 0
        yield error_type(error), {LIMITED} if status == 429 else {FAILING} if status >= 500 else set()
    yield "429", {LIMITED}


@pytest.mark.parametrize(("outcome", "alerts"), list(_expected()))
def test_each_outcome_is_counted_by_the_alert_that_is_about_it(outcome: str, alerts: set[str]) -> None:
    assert _alerts(outcome) == alerts
    assert bool(alerts) is (outcome not in INNOCENT), "an outcome that no alert counts needs a reason"


@pytest.mark.parametrize("outcome", list(INNOCENT))
def test_what_is_not_upstreams_fault_is_counted_by_no_alert(outcome: str) -> None:
    assert _alerts(outcome) == set()
