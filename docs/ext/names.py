"""Names in docstrings become links to what they name: `read_nifti` in single backticks, InputError under "Raises:", annotations.

Sphinx looks a name up in the module that says it; here it is also found where that module imported it from, and a fault in its
package's `errors`. What names nothing of ours is shown as code, and that is no fault.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole

OURS = ("scripts", "export", "federated", "etscnet_edge")
NAME = re.compile(r"[A-Za-z_][\w.]*")


def name_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """The role of single backticks: a reference where the text is a Python name, else code as it stands."""
    if NAME.fullmatch(text):
        return PyXRefRole()("py:obj", rawtext, text, lineno, inliner, options or {}, content)
    return [nodes.literal(rawtext, nodes.unescape(text))], []


def name_in_full(app: Sphinx, document: nodes.document) -> None:
    """Sphinx's event: a page was read. A name that its module has imported from another of ours gets its full name."""
    for reference in document.findall(pending_xref):
        module, target = reference.get("py:module") or "", reference["reftarget"]
        value = (
            _named(module, target)
            or _named(f"{module.partition('.')[0]}.errors", target)
            or _named("scripts.errors", target)
        )
        full = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
        if full.partition(".")[0] in OURS:
            reference["reftarget"], reference["refspecific"] = full, False


def _named(module: str, target: str) -> Any:
    """What a dotted name stands for in a module; None where it stands for nothing."""
    value: Any = sys.modules.get(module)
    for part in target.split("."):
        value = getattr(value, part, None)
    return value


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when the extension is loaded."""
    app.add_role("name", name_role)
    app.connect("doctree-read", name_in_full)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
