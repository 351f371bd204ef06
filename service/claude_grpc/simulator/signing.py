"""Signatures that only this simulator can make, so that what was changed on its way is found out.

Each stands in an object, and is made over all the rest of it but its cache mark. A signature is base64 of a digest of
what was hidden and an HMAC over that and all that was shown. It binds the model, as the API's does; it does not bind
the place of a block in the conversation.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

from .raw_json import canonical
from .shapes import FUTURE_BLOCK, FUTURE_FIELD

__all__ = ["Signer"]

_DIGEST_BYTES = 32
# Type of an object → its fields that are signatures; encrypted content is one, too.
_SEALS = {
    "thinking": ("signature",),
    "redacted_thinking": ("data",),
    "compaction": ("encrypted_content", "signature"),
    "web_search_result": ("encrypted_content",),
    "web_search_result_location": ("encrypted_index",),
    "encrypted_code_execution_result": ("encrypted_stdout",),
    "advisor_redacted_result": ("encrypted_content",),
    FUTURE_BLOCK: ("signature",),
}
_NOT_SIGNED = ("cache_control", FUTURE_FIELD)
_FREE_FORM = ("input", "input_schema")


class Signer:
    """Signs what an answer holds, and knows its signatures again."""

    def __init__(self, key: bytes, model: str) -> None:
        self._key = key
        self._model = model

    def seal(self, value: Any, hidden: str) -> Any:
        """Return a value with every signature in it; ``hidden`` is what they stand for but do not show."""
        if isinstance(value, list):
            return [self.seal(item, hidden) for item in value]
        if not isinstance(value, dict):
            return value
        digest = hashlib.sha256(hidden.encode()).digest()
        whole = {name: item if name in _FREE_FORM else self.seal(item, hidden) for name, item in value.items()}
        fields = _SEALS.get(value.get("type", ""), ())
        return whole | {field: self._sign(value, field, digest) for field in fields}

    def broken(self, path: str, value: Any) -> Iterator[tuple[str, str]]:
        """Yield what in a value is not as it was sent: the path of an object, and the name of its signature."""
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self.broken(f"{path}.{number}", item)
        if isinstance(value, dict):
            kind = value.get("type")
            fields = _SEALS.get(kind, ()) if isinstance(kind, str) else ()
            yield from ((path, field) for field in fields if not self._is_whole(value, field))
            for name, item in value.items():
                if name not in _FREE_FORM:
                    yield from self.broken(f"{path}.{name}", item)

    def _is_whole(self, value: dict[str, Any], field: str) -> bool:
        signature = value.get(field)
        if not isinstance(signature, str):
            return False
        try:
            digest = base64.b64decode(signature, validate=True)[:_DIGEST_BYTES]
        except ValueError:
            return False
        return hmac.compare_digest(self._sign(value, field, digest).encode(), signature.encode())

    def _sign(self, value: dict[str, Any], field: str, digest: bytes) -> str:
        """Sign what an object shows; null is as good as absent."""
        unsigned = (*_SEALS[value["type"]], *_NOT_SIGNED)
        shown = {name: item for name, item in value.items() if name not in unsigned and item is not None}
        signed = digest + canonical([self._model, field, shown])
        return base64.b64encode(digest + hmac.digest(self._key, signed, "sha256")).decode()
