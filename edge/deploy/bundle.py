"""Wheels of etscnet-edge for devices without a network: one folder a target, with SHA256SUMS and a requirements.txt of hashes.

    python edge/deploy/bundle.py --wheel dist/etscnet_edge-0.1.0-py3-none-any.whl --output_dir dist/edge-bundle

pip chooses wheels for another machine, but evaluates the environment markers of a dependency (`python_version < "3.11"`) for
the Python that it runs on itself (pypa/pip#6117). What each wheel needs on the target is therefore read from its metadata here:
pip is asked again until nothing is missing, and what the target doesn't need is left out. pip's own wheel lies beside them, for
devices that have none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the modules beside this one, and the package's
from deploy.targets import DEFAULT, TARGETS, Target
from deploy.wheels import EXTRAS, PACKAGE, ROOT, metadata, name_of, needs, sha256, version_of
from etscnet_edge.options import Options, one_of

SUMS, REQUIREMENTS = "SHA256SUMS", "requirements.txt"


class BundleError(ValueError):
    """No complete set of wheels: which target, what was found, what to do. Nothing is written then."""


def bundle(
    wheel: str, *, output_dir: str = "dist/edge-bundle", targets: Sequence[str] = DEFAULT, index: str | None = None
) -> str:
    """Collect and check the wheels of every target, and say what came out; the folder appears whole or not at all.

    Args:
        wheel: of etscnet-edge.
        output_dir: an earlier bundle there is replaced, anything else is not.
        targets: names of TARGETS.
        index: a folder of wheels in the place of the package index.

    Raises:
        BundleError: no such wheel or target, an output folder that is no bundle, or a target without a complete set.
    """
    path, folder, names = Path(wheel), Path(output_dir), tuple(targets)
    unknown = sorted(set(names) - set(TARGETS))
    if unknown or not names:
        raise BundleError(f"no target {', '.join(unknown) or 'given'}; known are {', '.join(TARGETS)}.")
    _check_wheel(path)
    if folder.exists() and not _is_bundle(folder):
        raise BundleError(f"{folder} exists and is no bundle. Give another --output_dir, or remove it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent) as work:
        new = Path(work) / "new"
        for name in names:
            collect(TARGETS[name], path, new / name, index=index)
        for part in new.rglob("*"):
            part.chmod(0o755 if part.is_dir() else 0o644)
        if folder.exists():
            folder.rename(Path(work) / "old")
        new.rename(folder)  # beside it, on one file system
    return table(folder, names)


def collect(target: Target, wheel: Path, folder: Path, *, index: str | None = None) -> None:
    """One target's wheels, requirements.txt and SHA256SUMS into a new folder.

    Raises:
        BundleError: pip finds no set, or not the whole of it.
    """
    asked: set[str] = set()
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _download(target, [f"{wheel}[{','.join(EXTRAS)}]", "pip", *sorted(asked)], folder, index)
        needed, missing = needs(target, folder)
        if not missing:
            break
        if missing <= asked:
            raise BundleError(f"{target.name}: pip brought no {', '.join(sorted(missing))}.")
        asked |= missing
    for file in folder.glob("*.whl"):
        if name_of(file) not in {*needed, "pip"}:
            file.unlink()
    with (folder / REQUIREMENTS).open("w") as out:
        for name, file in sorted(needed.items()):
            out.write(f"{ROOT if name == PACKAGE else name}=={version_of(file)} --hash=sha256:{sha256(file)}\n")
    sums = [f"{sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(sums))
    check(target, folder)


def check(target: Target, folder: Path) -> None:
    """SHA256SUMS holds for every file, and pip, without an index or configuration, would install requirements.txt by its hashes.

    Raises:
        BundleError: a file that is missing, changed or not listed, or wheels that pip doesn't take for the target.
    """
    listed = dict(line.split("  ", 1)[::-1] for line in (folder / SUMS).read_text().splitlines())
    present = {file.name: sha256(file) for file in folder.iterdir() if file.name != SUMS}
    odd = {name for name, _ in listed.items() ^ present.items()}
    if odd:
        raise BundleError(f"{folder}: {', '.join(sorted(odd))}: not as {SUMS} says. Make the bundle again.")
    _, missing = needs(target, folder)
    if missing:
        raise BundleError(f"{folder}: no wheel for {', '.join(sorted(missing))}. Make the bundle again.")
    # Requires-Python would be compared with the Python here; the download has compared it with the target's.
    with tempfile.TemporaryDirectory() as nowhere:
        options = ["--dry-run", "--no-deps", "--ignore-requires-python", "--require-hashes", "--no-index"]
        options += [f"--find-links={folder}", f"--requirement={folder / REQUIREMENTS}", f"--target={nowhere}"]
        fault = f"{target.name}: the wheels don't install without a network"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        environment = {**clean, "PIP_CONFIG_FILE": os.devnull}
        _pip(
            ["install", *options, *target.pip_options], fault, remedy="Make the bundle again.", environment=environment
        )


def table(folder: Path, names: Iterable[str]) -> str:
    """What came out, a row a target."""
    rows = [f"{'target':<15}{'system':<28}{'wheels':>6}{'MB':>8}"]
    for name in names:
        wheels = list((folder / name).glob("*.whl"))
        size = sum(file.stat().st_size for file in wheels) / 1e6
        rows.append(f"{name:<15}{TARGETS[name].system:<28}{len(wheels):>6}{size:>8.1f}")
    return "\n".join([*rows, f"written to {folder}"])


def _download(target: Target, requirements: list[str], folder: Path, index: str | None) -> None:
    source = [] if index is None else ["--no-index", f"--find-links={index}"]
    arguments = ["download", *source, f"--dest={folder}", *target.pip_options, *requirements]
    remedy = "Correct the ranges in edge/pyproject.toml, or the index."
    _pip(arguments, f"{target.name}: no complete set of wheels", remedy=remedy)


def _pip(arguments: list[str], fault: str, *, remedy: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        raise BundleError(f"{fault} (pip: {' '.join(said)}). {remedy}")


def _check_wheel(path: Path) -> None:
    if not path.is_file() or path.suffix != ".whl" or name_of(path) != PACKAGE:
        raise BundleError(f"{path} is no wheel of {PACKAGE}. Build it: make edge-wheel.")
    lacking = set(EXTRAS) - set(metadata(path).get_all("Provides-Extra", []))
    if lacking:
        raise BundleError(f"{path} has no extra {', '.join(sorted(lacking))}. Build it again: make edge-wheel.")


def _is_bundle(folder: Path) -> bool:
    parts = list(folder.iterdir()) if folder.is_dir() else []
    return bool(parts) and all((part / SUMS).is_file() for part in parts)


OPTIONS = Options(
    "python edge/deploy/bundle.py",
    "Collect and check the wheels of every target; the folder appears whole or not at all.",
    "--wheel dist/etscnet_edge-0.1.0-py3-none-any.whl --output_dir dist/edge-bundle",
)
OPTIONS.add("wheel", "file of etscnet-edge's wheel", needed=True)
OPTIONS.add("output_dir", "an earlier bundle there is replaced, anything else is not", default="dist/edge-bundle")
OPTIONS.add(
    "targets",
    "the kinds of devices",
    kind=one_of(*TARGETS),
    default=DEFAULT,
    shown="NAME ...",
    several=True,
)
OPTIONS.add("index", "folder of wheels in the place of the package index")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; a fault is one line on stderr, and status 1."""
    given = OPTIONS.read(sys.argv[1:] if arguments is None else arguments)
    try:
        print(bundle(given.wheel, output_dir=given.output_dir, targets=given.targets, index=given.index))
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
