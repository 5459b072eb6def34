"""Splits over several sites in one place, for what no federation needs: the pooled reference, and leaving a site out.

Cases are called SITE-CASE; paths are relative to `root`, the folder that holds all the sites' data sets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from federated.site_file import SiteFile
from scripts.datalist import read_datalist
from scripts.errors import CohortError, InputError
from scripts.files import write_atomically
from scripts.split import PARTS, count

Parts = dict[str, list[dict[str, Any]]]


def root_of(sites: Sequence[SiteFile]) -> Path:
    """The folder that holds all data sets."""
    return Path(os.path.commonpath([str(site.dataset_dir.absolute()) for site in sites]))


def read_splits(sites: Sequence[SiteFile], modalities: Sequence[str]) -> dict[str, Parts]:
    """Site -> part -> cases.

    Raises:
        CohortError: sites whose datalist is at fault, for other modalities, or with a part that lacks an outcome.
    """
    splits, faults = {}, []
    for site in sites:
        try:
            split = read_datalist(site.datalist, site.dataset_dir)
            if split["modalities"] != list(modalities):
                raise _fault(site, f"its datalist is for {split['modalities']}", f"{list(modalities)}")
            for part in PARTS:
                if not all(count(split[part])[label] for label in (0, 1)):
                    raise _fault(
                        site, f"its {part} part holds one outcome alone", "controlled and uncontrolled children"
                    )
            splits[site.name] = {part: list(split[part]) for part in PARTS}
        except InputError as error:
            faults.append(error)
    if faults:
        raise CohortError(faults)
    return splits


def write_pooled(path: Path, splits: Mapping[str, Parts], root: Path, modalities: Sequence[str]) -> Path:
    """The sites' splits as one: each part is the sum of theirs."""
    return _write(path, {part: _named(splits, part) for part in PARTS}, root, modalities)


def write_left_out(
    path: Path, splits: Mapping[str, Parts], root: Path, modalities: Sequence[str], *, site: str
) -> Path:
    """Train on all sites but one, test on the whole of that one.

    Training is the others' training and testing parts, validation theirs; testing is every child of the site.
    """
    others = {name: parts for name, parts in splits.items() if name != site}
    left_out = {site: splits[site]}
    parts = {
        "training": _named(others, "training") + _named(others, "testing"),
        "validation": _named(others, "validation"),
        "testing": [case for part in PARTS for case in _named(left_out, part)],
    }
    return _write(path, parts, root, modalities)


def _named(splits: Mapping[str, Parts], part: str) -> list[dict[str, Any]]:
    return [{**case, "case": f"{site}-{case['case']}"} for site, parts in splits.items() for case in parts[part]]


def _write(path: Path, parts: Parts, root: Path, modalities: Sequence[str]) -> Path:
    files = {key for name in modalities for key in (name, f"{name}_mask")}
    relative = {
        part: [
            {key: os.path.relpath(value, root) if key in files else value for key, value in case.items()}
            for case in cases
        ]
        for part, cases in parts.items()
    }
    text = json.dumps({"modalities": list(modalities), **relative}, indent=1) + "\n"
    if not path.is_file() or path.read_text() != text:
        write_atomically(path, text)
    return path


def _fault(site: SiteFile, found: str, expected: str) -> InputError:
    remedy = "Make the site's datalist again: python -m scripts cohort."
    return InputError(found, expected=expected, remedy=remedy, case=site.name, file=site.datalist)
