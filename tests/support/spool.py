"""What calls have put aside on disk."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

_OPEN_FILES = Path("/proc/self/fd")

CAN_TELL = _OPEN_FILES.is_dir()
"""Whether this system tells which files a process has open; Linux does."""


def spooled_files() -> set[str]:
    """The files without a name that this process has open."""
    found = set()
    for link in _OPEN_FILES.iterdir():
        with suppress(OSError):  # it was closed meanwhile
            target = str(link.readlink())
            if target.startswith(tempfile.gettempdir()) and "(deleted)" in target:
                found.add(f"{link} {target}")
    return found
