"""Signatures that only this simulator can make, so that a block changed on its way is found out.

A signature is base64 of a digest of what was hidden and an HMAC over that and all that was shown. It binds the model,
as the API's does; it does not bind the place of a block in the conversation.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from .raw_json import canonical

__all__ = ["Signer"]

_DIGEST_BYTES = 32


class Signer:
    """Signs thinking, redacted thinking and unknown blocks, and knows its signatures again."""

    def __init__(self, key: bytes, model: str) -> None:
        self._key = key
        self._model = model

    def sign(self, shown: Any, hidden: str = "") -> str:
        """Return the signature of a JSON value; ``hidden`` is what the signature stands for but does not show."""
        return self._seal(shown, hashlib.sha256(hidden.encode()).digest())

    def verify(self, shown: Any, signature: object) -> bool:
        """Tell whether ``sign`` made this signature for this value and this model."""
        if not isinstance(signature, str):
            return False
        try:
            digest = base64.b64decode(signature, validate=True)[:_DIGEST_BYTES]
        except ValueError:
            return False
        return hmac.compare_digest(self._seal(shown, digest).encode(), signature.encode())

    def _seal(self, shown: Any, digest: bytes) -> str:
        signed = digest + canonical([self._model, shown])
        return base64.b64encode(digest + hmac.digest(self._key, signed, "sha256")).decode()
