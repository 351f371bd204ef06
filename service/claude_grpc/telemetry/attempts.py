"""The attempts of one call of the Claude API: a span and a count for each, and the phases of the call's ledger."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import INVALID_SPAN, Span

from claude_grpc.telemetry import names
from claude_grpc.telemetry.ledger import Ledger, Phase
from claude_grpc.telemetry.observer import AttemptEnded, AttemptStarted
from claude_grpc.telemetry.recorders import Recorders

__all__ = ["Attempts"]


class Attempts:
    """Is told by upstream; an ``AttemptObserver``.

    Attributes:
        parent: The span of the call; that of whoever made it until it has one of its own.
        request_id: Upstream's, of the last attempt that was answered.
    """

    def __init__(self, recorders: Recorders, ledger: Ledger) -> None:
        self.parent: Span = INVALID_SPAN
        self.request_id = ""
        self._recorders = recorders
        self._ledger = ledger
        self._span: Span = INVALID_SPAN
        self._number = 0
        self._is_sent = False

    def attempt_started(self, attempt: AttemptStarted) -> Mapping[str, str]:
        """Return headers to be sent with the attempt."""
        self._number, self._is_sent = attempt.number, False
        self._ledger.enter(Phase.CONNECT)
        self._recorders.metrics.exchange_started()
        self._span = self._recorders.spans.start_attempt(self.parent, attempt)
        return self._recorders.spans.headers(self._span)

    def attempt_sent(self) -> None:
        """There is a connection, and the request goes out on it."""
        if not self._is_sent:
            self._is_sent = True
            self._ledger.enter(Phase.FIRST_EVENT)
            self._recorders.metrics.exchange_sent()

    def attempt_ended(self, attempt: AttemptEnded) -> None:
        """The exchange is over."""
        self.request_id = attempt.request_id or self.request_id
        retried = attempt.wait is not None
        outcome = str(attempt.status) if attempt.status is not None and attempt.status != _OK else attempt.error
        self._recorders.metrics.exchange_ended(sent=self._is_sent, outcome=outcome or str(_OK), retried=retried)
        self._recorders.spans.end_attempt(self._span, attempt)
        if attempt.wait is not None:
            self._ledger.give_up()
            self.parent.add_event(
                names.EVENT_RETRY,
                {
                    names.REASON: outcome,
                    names.RETRY_ATTEMPT: self._number,
                    names.RETRY_WAIT: attempt.wait,
                },
            )


_OK = 200
