"""Equality of JSON values."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["parse"]


def parse(text: str | bytes) -> Any:
    """JSON as values in which equal means equal: numbers exact, true apart from 1."""
    return json.loads(text, parse_int=_number, parse_float=_number)


def _number(digits: str) -> tuple[str, Fraction | str]:
    # One of a million digits is nothing but its spelling.
    exponent = digits.lower().partition("e")[2].lstrip("+-0")
    return "number", Fraction(Decimal(digits)) if len(digits) < 1000 and len(exponent) < 4 else digits
