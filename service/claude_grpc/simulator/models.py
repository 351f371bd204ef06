"""The resource ``models``: retrieve, and list by stages of life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from .calls import Call, Routes
from .checks import one_of
from .errors import ApiError, invalid
from .headers import Caller
from .model_table import ALIASES, MODELS, Model, describe_capabilities
from .paging import check_query, page_by_id, values_of
from .store import Stored

__all__ = ["Models"]

_STAGES = ("active", "deprecated", "retired")
# What is told only with a beta: the field, and how the beta begins.
_FALLBACKS, _COMPACTION = "server-side-fallback-", "compact-2026-09-04"


@dataclass(eq=False, kw_only=True)
class _Listed(Stored):
    model: Model


class Models:
    """Answers from a table; there is nothing to change in it."""

    def __init__(self) -> None:
        self._models = [_Listed(id=model.id, number=-index, model=model) for index, model in enumerate(MODELS)]

    @property
    def routes(self) -> Routes:
        """The requests that are answered here."""
        return {"GET /v1/models": self._list, "GET /v1/models/{model_id}": self._retrieve}

    async def _list(self, call: Call) -> web.StreamResponse:
        check_query(call.query, "before_id", "after_id", "limit", "lifecycle")
        stages = values_of(call.query, "lifecycle")
        if len(stages) > len(_STAGES):
            raise invalid("lifecycle", f"List should have at most {len(_STAGES)} items after validation")
        for index, stage in enumerate(stages):
            one_of(f"lifecycle.{index}", stage, *_STAGES)
        wanted = stages or _STAGES[:2]
        listed = [entry for entry in self._models if entry.model.lifecycle in wanted]
        return await call.send(page_by_id(call.query, listed, lambda entry: _show(entry.model, call.caller)))

    async def _retrieve(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        for entry in self._models:
            if entry.id == ALIASES.get(name, name):
                return await call.send(_show(entry.model, call.caller))
        raise ApiError(404, f"model: {name}")


def _show(model: Model, caller: Caller) -> dict[str, Any]:
    capabilities = describe_capabilities(model)
    if _COMPACTION in caller.betas:
        can = {"supported": model.lifecycle != "retired"}
        capabilities["compaction"] = can | {"summarize": can}
    shown: dict[str, Any] = {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": _midnight(model.created),
        "lifecycle": model.lifecycle,
        "line": model.line,
        "deprecated_at": _midnight(model.deprecated),
        "retires_at": _midnight(model.retires),
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": capabilities,
    }
    if any(beta.startswith(_FALLBACKS) for beta in caller.betas):
        others = [other.id for other in MODELS if other.line == model.line and other.lifecycle == "active"]
        shown["allowed_fallback_models"] = [name for name in others if name != model.id]
    return shown


def _midnight(day: str | None) -> str | None:
    return day and f"{day}T00:00:00Z"
