"""The API's two routes: each request is logged, read, checked and answered here, step by step."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from aiohttp import web

from .checks import check_parameters
from .delivery import ENDINGS, Delivery, until_gone
from .errors import ApiError, error_object, error_status
from .exchanges import Exchange, ExchangeLog
from .faults import Directives, Event, RawAnswer, distort, refusal
from .headers import Caller, check_headers, response_headers
from .messages import Answer, build_answer
from .options import SimulatorOptions
from .prompt import Prompt, read_prompt
from .raw_json import encode
from .signing import Signer
from .stream import events, frame
from .tokens import count_prompt
from .turns import ConversationCheck

__all__ = ["Api", "Script"]

Script = Directives | RawAnswer

_MESSAGES = "/v1/messages"
_COUNT_TOKENS = "/v1/messages/count_tokens"
_JSON = "application/json"
_EVENTS = "text/event-stream; charset=utf-8"


class Api:
    """Answers requests; holds the script, the log and the counters."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.log = ExchangeLog(options.history)
        self.scripts: deque[Script] = deque()
        self.usage: Counter[str] = Counter()
        self._options = options
        self._numbers = count(1)
        self._failures: Counter[bytes] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and note when and how it ended."""
        headers = {name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers}
        exchange = Exchange(request.method, request.path_qs, headers, f"req_{next(self._numbers):024d}")
        delivery = Delivery(request, exchange, response_headers(exchange.request_id))
        whole = False
        try:
            response = await self._respond(request, delivery)
            whole = True
        finally:
            exchange.close(early=not whole)
        return response

    async def _respond(self, request: web.Request, delivery: Delivery) -> web.StreamResponse:
        exchange = delivery.exchange
        try:
            try:
                exchange.body = await request.read()
            finally:
                self.log.add(exchange)
            script = self.scripts.popleft() if self.scripts else {}
            return await self._answer(request, delivery, script)
        except web.HTTPRequestEntityTooLarge:
            error = ApiError(413, "Request exceeds the maximum size")
        except ApiError as refused:
            error = refused
        body = encode(error_object(error.type, error.message, exchange.request_id)).encode()
        return await delivery.send_body(body, _JSON, error.status, error.headers)

    async def _answer(self, request: web.Request, delivery: Delivery, script: Script) -> web.StreamResponse:
        if request.path not in (_MESSAGES, _COUNT_TOKENS):
            raise ApiError(404, "Not Found")
        if request.method != "POST":
            raise ApiError(405, "Method Not Allowed")
        caller = check_headers(delivery.exchange.headers, self._options.extra_betas)
        if isinstance(script, RawAnswer):
            return await delivery.send_raw(script, self._options.delta_interval)
        prompt = read_prompt(delivery.exchange.body)
        prompt = replace(prompt, directives={**prompt.directives, **script})
        if refused := await self._fail(prompt):
            return await delivery.send_raw(refused, 0)
        counting = request.path == _COUNT_TOKENS
        signer = self._check(prompt, caller, counting=counting)
        if counting:
            return await self._send_json({"input_tokens": count_prompt(prompt.body).total}, prompt, delivery)
        answer = build_answer(prompt, signer)
        if prompt.body.get("stream"):
            return await self._send_stream(answer, prompt, delivery)
        if not any(name in prompt.directives for name in ("bad-json", "error-event", *ENDINGS)):
            self.usage.update(_counts(answer.message["usage"]))
        return await self._send_json(answer.message, prompt, delivery)

    async def _fail(self, prompt: Prompt) -> RawAnswer | None:
        """Do what is asked for instead of an answer."""
        if slow := prompt.directives.get("slow-headers"):
            await (asyncio.sleep(slow.amount) if slow.text else until_gone())
        error = prompt.directives.get("error")
        if error is None:
            return None
        times = error.number(error.option("times"), 0)
        if times:
            self._failures[prompt.digest] += 1
            if self._failures[prompt.digest] > times:
                return None
        refused = refusal(error)
        if isinstance(refused, ApiError):
            raise refused
        return refused

    def _check(self, prompt: Prompt, caller: Caller, *, counting: bool) -> Signer:
        check_parameters(prompt.body, caller, self._options, counting=counting)
        signer = Signer(self._options.signing_key, prompt.body["model"])
        ConversationCheck(caller, self._options, signer).check(prompt.body, thinks=prompt.thinks)
        return signer

    def _told(self, events: Iterator[Event]) -> Iterator[Event]:
        """Count the usage that the events tell of, each just before it is sent: totals, of which the last holds."""
        told: Counter[str] = Counter()
        for event in events:
            if event.name in {"message_start", "message_delta"} and (data := _json(event.data)):
                totals = _counts(data.get("message", data)["usage"])
                self.usage.update({kind: tokens - told[kind] for kind, tokens in totals.items()})
                told.update({kind: tokens - told[kind] for kind, tokens in totals.items()})
            yield event

    async def _send_stream(self, answer: Answer, prompt: Prompt, delivery: Delivery) -> web.StreamResponse:
        asked = prompt.directives
        stream = events(answer, unknown_delta="unknown-delta" in asked)
        distorted = distort(stream, asked, delivery.exchange.request_id)
        frames = (frame(event, number) for number, event in enumerate(self._told(distorted)))
        interval = asked["pace"].amount if "pace" in asked else self._options.delta_interval
        return await delivery.send_chunks(frames, _EVENTS, asked, interval)

    async def _send_json(self, value: dict[str, Any], prompt: Prompt, delivery: Delivery) -> web.StreamResponse:
        asked = prompt.directives
        if failure := asked.get("error-event"):
            kind = failure.word("overloaded_error")
            raise ApiError(error_status(kind), "Overloaded", type=kind)
        body = encode(value).encode()
        half = body[: len(body) // 2]
        if any(name in asked for name in ENDINGS):
            return await delivery.send_chunks([half], _JSON, asked)
        return await delivery.send_body(half if "bad-json" in asked else body, _JSON)


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    return {kind: tokens for kind, tokens in usage.items() if isinstance(tokens, int)}


def _json(text: str) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return value
