"""The parts of `bundle/configs/metadata.json` that stand elsewhere: changelog and version in CHANGELOG.md, packages in the
imports of the code and in the pinned versions, metrics in docs/evidence. `python -m export metadata` brings them up to date;
a package is refused while they are not."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from export.distribution.layout import CHECKOUT
from export.distribution.reach import reach
from scripts.answer import Answer
from scripts.errors import InputError
from scripts.files import write_atomically

METADATA = Path("bundle", "configs", "metadata.json")
EVIDENCE = Path("bundle", "docs", "evidence", "easy_metrics.json")
METRICS = ("auc", "sensitivity", "specificity")  # of the fused score
BASE = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}  # fields of their own
# Needed without an import of ours: package -> by what, as it stands in the bundle's files.
THROUGH_OTHERS = {
    "tensorboard": "torch.utils.tensorboard",
    "einops": "SwinClassifier",
    "fire": "python -m monai.bundle",
}
# Not among what `make setup` installs, so that its import name can't be looked up there: import -> package.
NOT_INSTALLED = {"HD_BET": "hd-bet"}
APART = frozenset(NOT_INSTALLED.values())
# Its field has a name of our own: MONAI puts the Zoo's older `optional_packages_version` in the place of the required ones.
SEPARATE = "separately_installed_packages_version"
_VERSION = re.compile(r"^## (\d+\.\d+\.\d+)\b.*$", re.MULTILINE)


def read_changelog(checkout: str | Path = CHECKOUT) -> dict[str, str]:
    """Of CHANGELOG.md: version -> its points, joined; newest first.

    Raises:
        InputError: no version, one twice, or one without a point.
    """
    file = Path(checkout) / "CHANGELOG.md"
    parts = _VERSION.split(file.read_text(encoding="utf-8"))[1:]
    found: dict[str, str] = {}
    for version, text in zip(parts[::2], parts[1::2], strict=True):
        points = [line.removeprefix("- ").strip() for line in text.splitlines() if line.startswith("- ")]
        if not points or version in found:
            said = f"{version} without a point" if not points else f"{version} twice"
            raise InputError(said, expected="each version once, with '- ' points", remedy="Correct it.", file=file)
        found[version] = "; ".join(points)
    if not found:
        raise InputError("no version", expected="'## 1.2.3' headings", remedy="Write one.", file=file)
    return found


def pinned(checkout: str | Path = CHECKOUT) -> dict[str, str]:
    """The tested version of every package, by its name in normal form: `constraints.txt`, and HD-BET's, which is apart."""
    root = Path(checkout)
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    pins = [line.split("==") for line in [*lines, *groups["hd-bet"]] if "==" in line and not line.startswith("#")]
    return {normal(name): version.strip() for name, version in pins}


def normal(name: str) -> str:
    """A distribution's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions_of(imports: Iterable[str]) -> list[str]:
    """The packages that importable names come from, in normal form, sorted."""
    known = packages_distributions()
    return sorted({normal(NOT_INSTALLED.get(name) or known[name][0]) for name in imports})


def up_to_date(checkout: str | Path = CHECKOUT) -> dict[str, Any]:
    """The metadata as they should be."""
    root = Path(checkout)
    said: dict[str, Any] = json.loads((root / METADATA).read_text(encoding="utf-8"))
    changelog, versions, reached = read_changelog(root), pinned(root), reach(root)
    imported = {*distributions_of(reached.eager | reached.lazy), *THROUGH_OTHERS} - BASE.keys()
    required, apart = sorted(imported - APART), sorted(imported & APART)
    measured = json.loads((root / EVIDENCE).read_text(encoding="utf-8"))["fused"]
    renewed = {
        "version": next(iter(changelog)),
        "changelog": changelog,
        **{field: versions[name] for name, field in BASE.items()},
        "required_packages_version": {name: versions[name] for name in required},
        SEPARATE: {name: versions[name] for name in apart},
        "eval_metrics": {f"{name}_on_synthetic_test_cases": round(measured[name], 3) for name in METRICS},
    }
    order = [name for name in said if name != SEPARATE]
    order.insert(order.index("required_packages_version") + 1, SEPARATE)
    return {name: renewed.get(name, said.get(name)) for name in order}


def check(checkout: str | Path = CHECKOUT) -> dict[str, Any]:
    """The checkout's metadata.

    Raises:
        InputError: they are not up to date.
    """
    file = Path(checkout) / METADATA
    wanted, said = up_to_date(checkout), json.loads(file.read_text(encoding="utf-8"))
    stale = [name for name in wanted if wanted[name] != said.get(name)]
    if stale:
        expected = f"what CHANGELOG.md, constraints.txt and the imports of scripts say: {wanted[stale[0]]}"
        raise InputError(
            f"not up to date: {', '.join(stale)}", expected=expected, remedy="python -m export metadata", file=file
        )
    return wanted


def write_metadata(checkout: str | Path = str(CHECKOUT)) -> Answer:
    """Bring version, changelog and packages of bundle/configs/metadata.json up to date.

    Args:
        checkout: folder that holds `bundle` and CHANGELOG.md; by default this one.

    Example:
        python -m export metadata

    Returns:
        That it is, and the metadata.

    Raises:
        InputError: CHANGELOG.md has no version, or one without a point.
    """
    renewed = up_to_date(checkout)
    write_atomically(Path(checkout) / METADATA, json.dumps(renewed, indent=4, ensure_ascii=False) + "\n")
    return Answer(f"{METADATA} is up to date", renewed)
