"""The Model Zoo's own CI on the bundle: its `ci/verify_bundle.py` and `ci/unit_tests/runner.py`, from a checkout of
Project-MONAI/model-zoo.

The checkout is read alone: what the scripts need of it is copied beside the bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from export.distribution.zoo_place import CheckFailed, Place, write_unit_tests
from scripts.errors import InputError

NEEDED = ("ci", "models/model_info.json", "setup.cfg", "pyproject.toml")


def zoo_ci_checks(model_zoo: Path, schema: Path | None) -> dict[str, Callable[[Place], str]]:
    """The Zoo's own checks by name.

    Args:
        model_zoo: a checkout.
        schema: of the metadata; None: its script downloads it.

    Raises:
        InputError: no such checkout.
    """
    missing = [name for name in NEEDED if not (model_zoo / name).exists()]
    if missing:
        expected = "a checkout of Project-MONAI/model-zoo"
        raise InputError(f"no {missing[0]}", expected=expected, remedy="Correct --model_zoo.", file=model_zoo)

    def verify(place: Place) -> str:
        root = _lay_out(model_zoo, place)
        eval_dir = root / "models" / place.bundle.name / "eval"
        if schema is None:
            place.python(Path("ci", "prepare_schema.py"), "--l", place.bundle.name, cwd=root)
        else:
            eval_dir.mkdir()
            shutil.copyfile(schema, eval_dir / "schema.json")
        try:
            place.python(Path("ci", "verify_bundle.py"), "--b", place.bundle.name, "--mode", "full", cwd=root)
        finally:
            shutil.rmtree(eval_dir)
            (root / "models" / place.bundle.name / "models" / "verify_model.ts").unlink(missing_ok=True)
        return "verify_bundle.py passes in mode full"

    def runner(*options: str) -> Callable[[Place], str]:
        def check(place: Place) -> str:
            root = _lay_out(model_zoo, place)
            said = place.python(Path("ci", "unit_tests", "runner.py"), "--b", place.bundle.name, *options, cwd=root)
            if "does not exists" in said:  # its word for a bundle without unit tests, with exit status 0
                raise CheckFailed(said.strip().splitlines()[-1])
            return " ".join(["runner.py passes", *options])

        return check

    return {
        "Zoo: verify_bundle.py": verify,
        "Zoo: runner.py": runner(),
        "Zoo: runner.py --dist": runner("--dist", "True"),
    }


def _lay_out(model_zoo: Path, place: Place) -> Path:
    """A Zoo with this bundle alone."""
    root = place.root / "model-zoo"
    if not root.is_dir():
        for name in NEEDED:
            source, target = model_zoo / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
        shutil.copytree(place.bundle, root / "models" / place.bundle.name)
        write_unit_tests(root / "ci" / "unit_tests")
    return root
