"""Collects all that is wrong with a request while it is encoded, each with the path of its field."""

from __future__ import annotations

from claude_grpc.errors import InvalidRequestError, Violation

__all__ = ["Path", "Violations"]

Path = tuple["Path", str | int] | None
"""Where in the request we are, innermost step first: cheap to extend, written out only when something is wrong."""


class Violations:
    """What is wrong so far."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def add(self, path: Path, description: str) -> None:
        """Note that the field at ``path`` is wrong; ``description`` says what would be right."""
        self._found.append(Violation(_render(path), description))

    def raise_if_any(self) -> None:
        """Raise all violations at once.

        Raises:
            InvalidRequestError: There is at least one.
        """
        if self._found:
            raise InvalidRequestError(self._found)


def _render(path: Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "".join(reversed(steps)).removeprefix(".")
