"""A kind of option that a verb imports for its annotations alone."""

from __future__ import annotations

from typing import Literal

Shape = Literal["round", "square"]
