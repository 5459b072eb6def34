"""Where an unpacked bundle is checked: a folder like the Zoo's checkout, far from this one, and processes that know nothing of
it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from export.distribution.layout import CHECKOUT
from export.distribution.zoo_style import PYPROJECT, SETUP_CFG, in_zoo_style

UNIT_TESTS = Path(__file__).with_name("unit_tests")
PROBE = Path(__file__).with_name("zoo_probe.py")
MINUTES = 10  # for one command


class CheckFailed(Exception):
    """A check of the bundle failed; the message is what the process said last."""


@dataclass(frozen=True)
class Place:
    """A copy of the bundle in a folder laid out as the Zoo's: `models/<name>`, `ci/unit_tests`, its settings of the code style.

    Attributes:
        root: that folder.
        bundle: the copy.
        dataset_dir: a BIDS folder of at least 10 subjects.
        brain_extraction: as the configurations take it.
        archive: the zip that the bundle came from.
    """

    root: Path
    bundle: Path
    dataset_dir: Path
    brain_extraction: str
    archive: Path

    @property
    def elsewhere(self) -> Path:
        """An empty folder: the working directory of the commands."""
        return self.root / "elsewhere"

    def python(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run Python in a process of its own; returns what it printed.

        Raises:
            CheckFailed: its exit status is not 0.
        """
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        temporary = self.root / "tmp"  # torch's exporter leaves some 37 MB behind each time
        environment.update(PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(temporary), ORT_DISABLE_TELEMETRY="1")
        command = [sys.executable, *map(str, arguments)]
        try:
            done = subprocess.run(
                command,
                cwd=cwd or self.elsewhere,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60 * MINUTES,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as late:
            raise CheckFailed(f"not done after {MINUTES} minutes") from late
        if done.returncode != 0:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise CheckFailed("\n".join(said[-12:]) or f"exit status {done.returncode}")
        return done.stdout

    def monai(self, *arguments: object) -> str:
        """`python -m monai.bundle ...`"""
        return self.python("-m", "monai.bundle", *arguments)

    def probe(self, check: str, *arguments: object) -> str:
        """A check of `zoo_probe`; returns its finding."""
        return self.python("-P", PROBE, check, self.bundle, *arguments).strip().splitlines()[-1]

    def config(self, *names: str) -> str:
        """Configuration files as an option's value."""
        files = [str(self.bundle / "configs" / name) for name in names]
        return files[0] if len(files) == 1 else str(files)


def prepare(
    root: Path, bundle: Path, archive: Path, *, dataset_dir: Path | None = None, brain_extraction: str = "mask"
) -> Place:
    """Copy the bundle into a Zoo-like folder; without a data set, make a small synthetic one beside it."""
    copy = root / "models" / bundle.name
    shutil.copytree(bundle, copy)
    for folder in ("elsewhere", "tmp", "out"):
        (root / folder).mkdir()
    (root / "setup.cfg").write_text(SETUP_CFG)
    (root / "pyproject.toml").write_text(PYPROJECT)
    write_unit_tests(root / "ci" / "unit_tests")
    place = Place(root, copy, dataset_dir or root / "cohort", brain_extraction, archive)
    if dataset_dir is None:  # the phantom is not part of the bundle: this one command runs in the checkout
        options = ["--subjects", "10", "--preset", "easy", "--seed", "0", "--voxel_mm", "4"]
        place.python("-m", "scripts", "phantom", "--output_dir", root / "cohort", *options, cwd=CHECKOUT)
    return place


def write_unit_tests(folder: Path) -> list[Path]:
    """The unit tests in the Zoo's form: what goes to its `ci/unit_tests`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in sorted(UNIT_TESTS.glob("test_*.py")):
        target = folder / file.name
        target.write_text(in_zoo_style(file.read_text(encoding="utf-8"), name=file.name), encoding="utf-8")
        written.append(target)
    return written
