"""The headers of a request, checked before its body is looked at, and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ApiError
from .shapes import BETAS, VERSIONS

__all__ = ["Caller", "check_headers", "response_headers"]

_RATE_LIMITS = {
    "requests": (4000, 3999),
    "tokens": (4_800_000, 4_799_000),
    "input-tokens": (4_000_000, 3_999_000),
    "output-tokens": (800_000, 800_000),
}


@dataclass(frozen=True)
class Caller:
    """What the headers say about a request: the API version it wants, and the betas."""

    version: str
    betas: frozenset[str]


def check_headers(headers: Mapping[str, str], extra_betas: frozenset[str]) -> Caller:
    """Check credentials, version and betas, in the API's order; ``headers`` has lower-case names.

    Raises:
        ApiError: 401 without a credential, 400 for the version or a beta.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not headers.get("x-api-key", "").strip() and not (scheme.lower() == "bearer" and token.strip()):
        raise ApiError(401, "x-api-key header is required")
    # Sent twice is one value with a comma in it to the API, and no version.
    version = headers.get("anthropic-version", "")
    if not version:
        raise ApiError(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise ApiError(400, f'anthropic-version: "{version}" is not a valid version')
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if "anthropic-beta" in headers]
    if unknown := [f"`{beta}`" for beta in betas if beta not in BETAS | extra_betas]:
        problem = f"unexpected value(s) {', '.join(unknown)} for the `anthropic-beta` header"
        raise ApiError(400, f"Unsupported beta header: {problem}. Try again without it.")
    return Caller(version, frozenset(betas))


def response_headers(request_id: str) -> dict[str, str]:
    """Return what every answer carries, errors too; the limits never move, so that answers stay comparable."""
    headers = {
        "request-id": request_id,
        "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
    }
    for kind, (limit, remaining) in _RATE_LIMITS.items():
        headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{kind}-remaining"] = str(remaining)
        headers[f"anthropic-ratelimit-{kind}-reset"] = "2026-10-21T00:01:00Z"
    return headers
