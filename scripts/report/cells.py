"""Numbers as a table shows them. A value that there is none of is a dash; the table's notes say why."""

from __future__ import annotations

import math

NONE = "-"


def number(value: float | None, digits: int = 3) -> str:
    """0.862; a dash for None and NaN."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """+0.031."""
    return NONE if value is None or math.isnan(value) else f"{value:+.{digits}f}"


def interval(pair: tuple[float, float] | None, digits: int = 3) -> str:
    """0.775 to 0.919."""
    return NONE if pair is None or any(map(math.isnan, pair)) else f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def estimate(value: float | None, pair: tuple[float, float] | None, digits: int = 3) -> str:
    """0.862 (0.775 to 0.919); without an interval the value alone."""
    said, around = number(value, digits), interval(pair, digits)
    return said if said == NONE or around == NONE else f"{said} ({around})"


def p_value(p: float | None) -> str:
    """0.031, or < 0.001."""
    if p is None or math.isnan(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
