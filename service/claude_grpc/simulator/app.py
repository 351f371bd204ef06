"""All requests come here: each is logged, read, checked and answered, step by step.

Messages are answered here; the resources, which keep something between requests, are modules of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from aiohttp import web

from .batches import Batches
from .calls import Call, Router
from .checks import check_parameters
from .clock import Clock
from .delivery import ENDINGS, JSON, Delivery, until_gone
from .errors import ApiError, describe_error
from .exchanges import Exchange, ExchangeLog
from .faults import Directives, Event, RawAnswer, distort, refusal
from .file_references import check_file_references, mention_files
from .files import Files
from .headers import Caller, check_headers, response_headers
from .messages import Answer, build_answer
from .models import Models
from .options import SimulatorOptions
from .prompt import Prompt, read_prompt
from .raw_json import encode
from .request_body import RequestBody
from .signing import Signer
from .skills import Skills
from .store import Quota
from .stream import events, frame
from .tokens import count_prompt
from .turns import ConversationCheck

__all__ = ["Api", "Script"]

Script = Directives | RawAnswer

_MESSAGES = "/v1/messages"
_COUNT_TOKENS = "/v1/messages/count_tokens"
_EVENTS = "text/event-stream; charset=utf-8"


class Api:
    """Answers requests; holds the script, the log and the counters."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.log = ExchangeLog(options.history)
        # Each with the pattern of the paths that it is for.
        self.scripts: deque[tuple[str, Script]] = deque()
        self.usage: Counter[str] = Counter()
        self.clock = Clock()
        self.quota = Quota(options.max_stored_bytes)
        self.files = Files(options, self.clock, self.quota)
        self.batches = Batches(options, self.clock, self.quota, self._check)
        skills = Skills(options, self.clock, self.quota)
        self._router = Router(self.batches.routes, self.files.routes, Models().routes, skills.routes)
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
            if request.path in (_MESSAGES, _COUNT_TOKENS):
                try:
                    exchange.body = await request.read()
                finally:
                    self.log.add(exchange)
                return await self._answer(request, delivery, self._next_script(request.path))
            self.log.add(exchange)
            return await self._serve(request, delivery, self._next_script(request.path))
        except web.HTTPRequestEntityTooLarge:
            error = ApiError(413, "Request exceeds the maximum size")
        except ApiError as refused:
            error = refused
        body = encode(describe_error(error, exchange.request_id)).encode()
        return await delivery.send_body(body, JSON, error.status, error.headers)

    def _next_script(self, path: str) -> Script:
        for index, (pattern, script) in enumerate(self.scripts):
            if fnmatchcase(path, pattern):
                del self.scripts[index]
                return script
        return {}

    async def _serve(self, request: web.Request, delivery: Delivery, script: Script) -> web.StreamResponse:
        """Answer a request to a resource; its body is read by its handler, or before a failure that is asked for."""
        handler, names = self._router.find(request.method, request.path)
        exchange = delivery.exchange
        caller = check_headers(exchange.headers, self._options.extra_betas)
        asked = {} if isinstance(script, RawAnswer) else script
        kept = self._options.kept_body_bytes if self._options.history else 0
        body = RequestBody(request, exchange, asked, kept)
        if isinstance(script, RawAnswer) or "error" in asked or "slow-headers" in asked:
            await body.drain()
        refused = script if isinstance(script, RawAnswer) else await self._fail(asked, exchange.path.encode())
        if refused:
            return await delivery.send_raw(refused, self._options.delta_interval)
        return await handler(Call(request, delivery, caller, asked, body), *names)

    async def _answer(self, request: web.Request, delivery: Delivery, script: Script) -> web.StreamResponse:
        if request.method != "POST":
            raise ApiError(405, "Method Not Allowed")
        caller = check_headers(delivery.exchange.headers, self._options.extra_betas)
        if isinstance(script, RawAnswer):
            return await delivery.send_raw(script, self._options.delta_interval)
        prompt = read_prompt(delivery.exchange.body)
        prompt = replace(prompt, directives={**prompt.directives, **script})
        if refused := await self._fail(prompt.directives, prompt.digest):
            return await delivery.send_raw(refused, 0)
        counting = request.path == _COUNT_TOKENS
        signer = self._check(prompt, caller, counting=counting)
        if counting:
            return await delivery.send_json({"input_tokens": count_prompt(prompt.body).total}, prompt.directives)
        answer = build_answer(mention_files(prompt, self.files), signer)
        if prompt.body.get("stream"):
            return await self._send_stream(answer, prompt, delivery)
        if not any(name in prompt.directives for name in ("bad-json", "error-event", *ENDINGS)):
            self.usage.update(_counts(answer.message["usage"]))
        return await delivery.send_json(answer.message, prompt.directives)

    async def _fail(self, asked: Directives, key: bytes) -> RawAnswer | None:
        """Do what is asked for instead of an answer; requests with the same key are the same request."""
        if slow := asked.get("slow-headers"):
            await (asyncio.sleep(slow.amount) if slow.text else until_gone())
        error = asked.get("error")
        if error is None:
            return None
        times = error.number(error.option("times"), 0)
        if times:
            self._failures[key] += 1
            if self._failures[key] > times:
                return None
        refused = refusal(error)
        if isinstance(refused, ApiError):
            raise refused
        return refused

    def _check(self, prompt: Prompt, caller: Caller, *, counting: bool = False) -> Signer:
        check_parameters(prompt.body, caller, self._options, counting=counting)
        signer = Signer(self._options.signing_key, prompt.body["model"])
        ConversationCheck(caller, self._options, signer).check(prompt.body, thinks=prompt.thinks)
        if not self._options.any_file_id:
            check_file_references(prompt.body, self.files)
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


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    return {kind: tokens for kind, tokens in usage.items() if isinstance(tokens, int)}


def _json(text: str) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return value
