"""`python -m export zoo-check`: unpack the bundle's archive and check it as the Model Zoo's CI does
(`export.distribution.zoo_checks`).

Every check runs in processes of its own, from another working directory, without PYTHONPATH, and all of them run whatever the
others found.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from export.distribution.unpack import unpack
from export.distribution.zoo_checks import all_checks
from export.distribution.zoo_ci import zoo_ci_checks
from export.distribution.zoo_place import CheckFailed, Place, prepare
from scripts.answer import Answer
from scripts.errors import InputError, failed_check
from scripts.files import sha256


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        passed: whether the bundle passes it.
        seconds: that it took.
        detail: what it found, or what the process said last.
    """

    check: str
    passed: bool
    seconds: float
    detail: str

    def __bool__(self) -> bool:
        return self.passed

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def zoo_check(
    archive: str | Path,
    *,
    schema: str | Path | None = None,
    dataset_dir: str | Path | None = None,
    brain_extraction: Literal["hd-bet", "bet", "mask", "none"] = "mask",
    only: str | Sequence[str] | None = None,
    model_zoo: str | Path | None = None,
) -> Answer:
    """Check a packed bundle as the Model Zoo's CI does, and more, in processes that know nothing of this checkout.

    Args:
        archive: the zip that `package` wrote.
        schema: file of the metadata's schema; None: MONAI downloads it.
        dataset_dir: BIDS folder of at least 10 subjects with outcomes; None: a synthetic one is made (half a minute).
        brain_extraction: for that folder: hd-bet, bet, mask (given masks) or none (the images are brain-extracted).
        only: names of checks, some of them.
        model_zoo: a checkout of Project-MONAI/model-zoo: its own `ci/verify_bundle.py` and unit test runner run, too.

    Example:
        python -m export zoo-check --archive dist/package/tsc_mri_outcome_classification_v0.1.0.zip

    Returns:
        A table, one row a check.

    Raises:
        FailedCheckError: a check failed; the table is in the message.
        InputError: no such archive or check.
    """
    findings = check_archive(
        Path(archive),
        schema=None if schema is None else Path(schema),
        dataset_dir=None if dataset_dir is None else Path(dataset_dir).resolve(),
        brain_extraction=brain_extraction,
        only=[only] if isinstance(only, str) else only,
        model_zoo=None if model_zoo is None else Path(model_zoo),
    )
    data = {"archive": str(archive), "checks": [finding.to_dict() for finding in findings]}
    if not all(findings):
        failed = "\n\n".join(f"{finding.check}:\n{finding.detail}" for finding in findings if not finding)
        raise failed_check(
            f"{sum(not finding for finding in findings)} checks failed\n{table(findings)}\n\n{failed}\n",
            expected="a bundle that the Model Zoo takes",
            remedy="Correct it and package it again.",
            file=archive,
            data=data,
        )
    return Answer(table(findings), data)


def check_archive(
    archive: Path,
    *,
    schema: Path | None,
    dataset_dir: Path | None,
    brain_extraction: str,
    only: Sequence[str] | None = None,
    model_zoo: Path | None = None,
) -> list[Finding]:
    """As `zoo_check`; the findings themselves.

    Raises:
        InputError: no such archive, or a check that is asked for and unknown.
    """
    if not archive.is_file():
        raise InputError("no such file", expected="an archive", remedy="make package", file=archive)
    checks = all_checks(schema)
    if model_zoo is not None:
        checks |= zoo_ci_checks(model_zoo, schema)
    unknown = set(only or ()) - checks.keys()
    if unknown:
        raise InputError(
            f"no checks {sorted(unknown)}", expected=f"some of {list(checks)}", remedy="Correct --only.", file=archive
        )
    wanted = {name: check for name, check in checks.items() if only is None or name in only}
    with tempfile.TemporaryDirectory(prefix="etscnet-zoo-") as folder:
        root = Path(folder).resolve()
        files = unpack(archive, root / "unpacked", expected_sha256=sha256(archive))
        bundle = root / "unpacked" / files[0].relative_to(root / "unpacked").parts[0]
        place = prepare(
            root / "zoo", bundle, archive.resolve(), dataset_dir=dataset_dir, brain_extraction=brain_extraction
        )
        return [_look(name, check, place) for name, check in tqdm(wanted.items(), desc="zoo-check", disable=None)]


def _look(name: str, check: Callable[[Place], str], place: Place) -> Finding:
    begun = time.monotonic()
    try:
        passed, detail = True, check(place)
    except CheckFailed as failure:
        passed, detail = False, str(failure)
    except (OSError, ValueError, LookupError) as failure:  # what a command left is not what it should be
        passed, detail = False, f"{type(failure).__name__}: {failure}"
    return Finding(name, passed, time.monotonic() - begun, detail)


def table(findings: Sequence[Finding]) -> str:
    """Markdown; of a failure the last line."""
    rows = [
        f"| {finding.check} | {'passed' if finding else 'FAILED'} | {finding.seconds:.0f} | "
        f"{finding.detail.splitlines()[-1][:110]} |"
        for finding in findings
    ]
    return "\n".join(["| check | result | seconds | found |", "|---|---|---|---|", *rows])
