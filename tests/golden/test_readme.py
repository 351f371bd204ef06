"""What the README says is supported is what the protos have."""

from __future__ import annotations

import os
from pathlib import Path

from support.readme import BEGIN, END, parity, supported

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_tells_what_is_supported() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    assert before
    assert after
    text = f"{before}{BEGIN}\n{supported()}\n\n{parity()}\n{END}{after}"
    if os.environ.get("CLAUDE_GRPC_TEST_UPDATE_GOLDEN") == "1":
        README.write_text(text)
    assert README.read_text() == text
