"""The fields of a request that travel as HTTP headers.

A header that the caller could break out of would be an injection, so each value is checked before it becomes one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from claude_grpc.codec import Violations
from claude_grpc.codec.violations import Path

__all__ = ["HeaderFields", "read_headers"]

_TOKEN = re.compile(r"[A-Za-z0-9._:-]{1,256}")


class HeaderFields(Protocol):
    """What all requests that reach the Claude API have in common."""

    @property
    def betas(self) -> Sequence[str]:
        """Beta features to switch on."""

    @property
    def anthropic_version(self) -> str:
        """Version of the API's rules; empty for the default."""

    @property
    def workspace_id(self) -> str:
        """Workspace; empty for the key's own."""


_HEADERS = {
    "anthropic_version": "anthropic-version",
    "workspace_id": "anthropic-workspace-id",
    "user_profile_id": "anthropic-user-profile-id",
}


def read_headers(request: HeaderFields, violations: Violations, path: Path = None) -> dict[str, str]:
    """The request's own headers, to be laid over the endpoint's; ``path`` is the request's, where it is part of one."""
    headers = {}
    for index, beta in enumerate(request.betas):
        _check(beta, ((path, "betas"), index), violations)
    if request.betas:
        headers["anthropic-beta"] = ",".join(request.betas)
    for name, header in _HEADERS.items():
        value = getattr(request, name, "")  # not every method has a user profile
        if value:
            _check(value, (path, name), violations)
            headers[header] = value
    return headers


def _check(value: str, path: Path, violations: Violations) -> None:
    if not _TOKEN.fullmatch(value):
        violations.add(path, "Must be 1 to 256 characters of a-z, A-Z, 0-9, '.', '_', ':' and '-'.")
