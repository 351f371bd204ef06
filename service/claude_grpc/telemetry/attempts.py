"""The attempts of one call of the Claude API: a span and a count for each, and the phases of the call's ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.ledger import Ledger, Phase
from claude_grpc.telemetry.observer import AttemptEnded, AttemptStarted
from claude_grpc.telemetry.recorders import Recorders
from claude_grpc.telemetry.span import NO_SPAN, Attributes, Span

__all__ = ["AttemptRecorder"]

_FIRST_ERROR: Final = 400


class AttemptRecorder:
    """Is told by upstream; an ``AttemptObserver``.

    Attributes:
        count: The attempts so far, with those for other models that were asked before.
        request_id: Upstream's, of the last attempt that was answered.

    Args:
        recorders: Where to tell of it.
        ledger: Of the RPC.
        parent: The span of the call.
    """

    def __init__(self, recorders: Recorders, ledger: Ledger, parent: Span) -> None:
        self.count = 0
        self.request_id = ""
        self._parent = parent
        self._recorders = recorders
        self._ledger = ledger
        self._span: Span = NO_SPAN
        self._is_running = self._is_sent = False
        self._status: int | None = None

    def attempt_started(self, attempt: AttemptStarted) -> Mapping[str, str]:
        """Return headers to be sent with the attempt."""
        self.count = attempt.number
        self._is_running, self._is_sent, self._status = True, False, None
        self._ledger.begin_attempt()
        self._recorders.metrics.exchange_started()
        self._span = self._recorders.spans.start_attempt(self._parent, attempt)
        return self._recorders.spans.headers(self._span)

    def attempt_sent(self) -> None:
        """There is a connection, and the request goes out on it."""
        if self._is_running and not self._is_sent:
            self._is_sent = True
            self._ledger.enter(Phase.FIRST_EVENT)
            self._recorders.metrics.exchange_sent()

    def attempt_answered(self, status: int, request_id: str) -> None:
        """The response has begun, well or not."""
        self._status = status
        self.request_id = request_id or self.request_id
        self._recorders.spans.answer_attempt(self._span, status, request_id)

    def attempt_ended(self, attempt: AttemptEnded) -> None:
        """The exchange is over, if it has begun."""
        if not self._is_running:
            return
        self._is_running = False
        outcome = _outcome(self._status, attempt.error)
        self._recorders.metrics.exchange_ended(
            sent=self._is_sent, outcome=outcome, retried=attempt.wait is not None, held_back=attempt.held_back
        )
        self._recorders.spans.end_attempt(self._span, attempt)
        if attempt.wait is not None:
            self._ledger.give_up()
            retry: Attributes = {
                names.REASON: outcome,
                names.RETRY_ATTEMPT: self.count,
                names.RETRY_WAIT: attempt.wait,
            }
            self._parent.add_event(names.EVENT_RETRY, retry)


def _outcome(status: int | None, error: str) -> str:
    """The status, unless it is one of success and the answer failed after it."""
    if status is None or (error and status < _FIRST_ERROR):
        return error
    return str(status)
