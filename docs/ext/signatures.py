"""Signatures as they are written: `labels: ArrayLike`, not all that numpy means by it.

A class is shown with what its `__init__` takes.
"""

from __future__ import annotations

import inspect
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature


def as_written(
    app: Sphinx, what: str, name: str, value: Any, options: Any, *found: str | None
) -> tuple[str, str] | None:
    """Sphinx's event: a signature was found. The same with the source's own annotations, None to leave it as it is."""
    if what not in ("class", "exception", "function", "method"):
        return None
    maker = (
        value.__init__ if inspect.isclass(value) else getattr(value, "__func__", value)
    )  # a class's method is bound to it
    if not inspect.isfunction(maker):  # an exception's, of C code
        return None
    signature = inspect.signature(maker)
    given = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    text = stringify_signature(signature.replace(parameters=given), unqualified_typehints=True)
    takes, _, gives = (
        text.rpartition(" -> ") if signature.return_annotation is not inspect.Signature.empty else (text, "", "")
    )
    return takes, "" if inspect.isclass(value) else gives


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when the extension is loaded."""
    app.connect("autodoc-process-signature", as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
