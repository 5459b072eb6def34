"""SITE.json: where a hospital keeps its data. It lies at the hospital and is read there alone; nothing of it travels.

    {"dataset_dir": "site-a", "datalist": "site-a/datalist.json", "brain_extraction": "mask"}

Paths are relative to the file. Further keys: "cache_dir" for preprocessed images, "device", "bundle_root"; and what the
hospital agreed to, where it wants to be sure of it: "modalities", "spatial_size", "max_bins" of a histogram. Another plan of the
server is then refused. With "min_children" the site tells no histogram and no metric of a part with fewer of either outcome.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.experiments.options import bundle_folder, whole_number

MAX_BINS = 200  # more would tell scores to three digits
REQUIRED = ("dataset_dir", "datalist")
OPTIONAL = (
    "brain_extraction",
    "cache_dir",
    "device",
    "bundle_root",
    "modalities",
    "spatial_size",
    "max_bins",
    "min_children",
)


@dataclass(frozen=True)
class SiteFile:
    """What SITE.json says, its paths absolute.

    Attributes:
        name: the file's, without its ending.
        device: as torch names it; empty: as the bundle chooses.
        modalities, spatial_size: what the site agreed to; None: whatever the server plans.
        max_bins, min_children: the site's own limits, whatever the server plans.
    """

    name: str
    dataset_dir: Path
    datalist: Path
    cache_dir: Path
    bundle_root: Path
    brain_extraction: str
    device: str
    modalities: tuple[str, ...] | None
    spatial_size: tuple[int, ...] | None
    max_bins: int
    min_children: int


def read_site(path: str | Path) -> SiteFile:
    """Read SITE.json, and find its data set and datalist there.

    Raises:
        InputError: the file, a key, the data set or the datalist is missing, or a key is unknown.
    """
    path = Path(path).absolute()
    try:
        said: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _fault(path, f"it cannot be read ({error})", "the JSON file of a site") from error
    if not isinstance(said, dict) or set(REQUIRED) - set(said) or set(said) - {*REQUIRED, *OPTIONAL}:
        found = ", ".join(sorted(said)) if isinstance(said, dict) else type(said).__name__
        raise _fault(path, f"it has {found}", f"{', '.join(REQUIRED)}, and where wanted {', '.join(OPTIONAL)}")
    folder = path.parent
    site = SiteFile(
        name=path.stem,
        dataset_dir=folder / said["dataset_dir"],
        datalist=folder / said["datalist"],
        cache_dir=folder / said.get("cache_dir", "cache"),
        bundle_root=folder / said["bundle_root"] if "bundle_root" in said else bundle_folder(),
        brain_extraction=str(said.get("brain_extraction", "none")),
        device=str(said.get("device", "")),
        modalities=tuple(said["modalities"]) if "modalities" in said else None,
        spatial_size=tuple(said["spatial_size"]) if "spatial_size" in said else None,
        max_bins=whole_number("max_bins", said.get("max_bins", MAX_BINS)),
        min_children=whole_number("min_children", said.get("min_children", 1)),
    )
    if not site.dataset_dir.is_dir():
        raise _fault(path, f"there is no folder {site.dataset_dir}", "the site's BIDS data set")
    if not site.datalist.is_file():
        raise InputError(
            f"there is no datalist {site.datalist}",
            expected="the site's split",
            remedy=f"Make it: python -m scripts cohort --dataset_dir {site.dataset_dir} --output {site.datalist}",
            file=path,
        )
    return site


def fingerprint(bundle_root: Path, overlay: Path) -> str:
    """Of the bundle's configuration: sites that prepare images differently must not train together."""
    files = (bundle_root / "configs" / "train.json", overlay)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _fault(path: Path, found: str, expected: str) -> InputError:
    return InputError(found, expected=expected, remedy="Correct the site's file.", file=path)
