"""`python -m export release`: everything that leaves the repository, in one folder, with hashes and a signature.

What is in it:

    <name>_v<version>.zip            the bundle (export.distribution.package)
    etscnet_edge-*.whl               the edge package (make edge-wheel)
    exports/                         the export's files (python -m export onnx)
    bundle.cdx.json, edge.cdx.json   bills of materials
    licences.md, licences.json       of all dependencies
    vulnerabilities.json             what the given advisories say, or that none were given
    CHANGELOG.md
    release.json, .sig, SHA256SUMS   export.distribution.release_manifest
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from pathlib import Path

from export.distribution.advisories import Audit, audit, installed
from export.distribution.archive import archive
from export.distribution.checkout import Commit, commit_of
from export.distribution.dependencies import closure, requirements
from export.distribution.edge_wheel import find_wheel
from export.distribution.layout import CHECKOUT, NAME, archive_name, contents
from export.distribution.licences import write_licences
from export.distribution.metadata import check
from export.distribution.release_manifest import MANIFEST, write_manifest
from export.distribution.sbom import bill
from export.distribution.signature import key_id, read_private_key, sign
from export.manifest import read_manifest
from export.to_onnx import export_onnx
from scripts.errors import InputError
from scripts.files import sha256, write_atomically

EXPORTS = "exports"


def release(
    private_key: str | Path,
    output_dir: str | Path = "dist/release",
    *,
    exports: str | Path | None = None,
    edge_wheel: str | Path | None = None,
    advisories: str | Path | None = None,
    allow_changes: bool = False,
    checkout: str | Path = CHECKOUT,
) -> str:
    """Put together all that is released, hashed and signed: bundle, edge wheel, exports, bills of materials, licences.

    Args:
        private_key: the file of the key that signs; `python -m export keygen` makes one, this command does not.
        output_dir: folder of the release; an earlier release there is replaced, anything else is refused.
        exports: folder that `python -m export onnx` wrote from the shipped weights; None: it is made.
        edge_wheel: file of the wheel; None: that in `dist`.
        advisories: a folder or a zip of OSV's JSON; None: the release says that nothing was checked.
        allow_changes: release a checkout whose files differ from the commit; the manifest says so.
        checkout: the repository's folder; by default this one.

    Example:
        python -m export release --private_key ~/etscnet-release.key --output_dir dist/release

    Returns:
        What was written.

    Raises:
        InputError: something is missing, stale or unsigned, or a vulnerability is known.
    """
    root, target = Path(checkout), Path(output_dir)
    key, commit, metadata = read_private_key(private_key), commit_of(root), check(root)
    _refuse(target, commit, allow_changes=allow_changes)
    wheel = find_wheel(root, edge_wheel)
    known = audit(installed(root), advisories)
    if known.checked and not known:
        raise InputError(known.summary(), expected="no known vulnerability", remedy="Bring the packages up to date.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        staging = Path(folder) / "release"
        staging.mkdir()
        zipped = archive_name(metadata["version"])
        write_atomically(staging / zipped, archive(contents(root), base=NAME))
        shutil.copyfile(wheel, staging / wheel.name)
        _take_exports(staging / EXPORTS, exports, root)
        _describe(staging, commit, zipped=zipped, wheel=wheel.name, version=metadata["version"], root=root)
        write_atomically(staging / "vulnerabilities.json", json.dumps(known.to_dict(), indent=2) + "\n")
        shutil.copyfile(root / "CHANGELOG.md", staging / "CHANGELOG.md")
        said = {
            "name": metadata["name"],
            "version": metadata["version"],
            "intended_use": metadata["intended_use"],
            "archive": zipped,
            "commit": commit.digest,
            "changed_since": list(commit.changed),
            "vulnerabilities": known.summary().splitlines()[0],
            "made_on": system(),
            "key": key_id(key.public_key()),
        }
        sign(write_manifest(staging, said), key)
        if target.exists():
            shutil.rmtree(target)
        shutil.move(staging, target)
    return summary(target, known)


def summary(folder: Path, known: Audit) -> str:
    """A table of what a release holds."""
    said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    rows = [f"| {name} | {entry['bytes']} | {entry['sha256']} |" for name, entry in said["files"].items()]
    lines = [
        *["| file | bytes | SHA-256 |", "|---|---|---|", *rows, known.summary()],
        *[f"{len(said['changed_since'])} files differ from the commit"] * bool(said["changed_since"]),
        f"{folder}: {said['version']}, commit {said['commit'][:12]}, signed by {said['key']}",
    ]
    return "\n".join(lines)


def system() -> str:
    """Python, system and processor: what dependencies and export forms hang on."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def _refuse(target: Path, commit: Commit, *, allow_changes: bool) -> None:
    if commit.changed and not allow_changes:
        found = f"{len(commit.changed)} files differ from the commit, {commit.changed[0]} among them"
        remedy = "Commit them; --allow_changes releases them all the same, and the manifest says so."
        raise InputError(found, expected="a clean checkout", remedy=remedy)
    if target.exists() and not (target / MANIFEST).is_file():
        remedy = "Give another --output_dir."
        raise InputError("is there, and no release", expected="a free place", remedy=remedy, file=target)


def _take_exports(target: Path, exports: str | Path | None, root: Path) -> None:
    """Copy the export's files, or make them; all of them are of the shipped weights."""
    source = Path(exports) if exports is not None else target
    if exports is None:
        export_onnx(root / "bundle", target)
    said = read_manifest(source)  # every file by its hash
    weights = root / "bundle" / "models" / "model.pt"
    if said["origin"]["sha256"] != sha256(weights) or said["for_timing_only"]:
        remedy = "Leave --exports out, or export again: python -m export onnx --bundle_root bundle."
        raise InputError(
            "an export of other weights or another size", expected="the bundle's", remedy=remedy, file=source
        )
    if exports is not None:
        target.mkdir()
        for name in (*said["files"], "etscnet.json", "parity.json"):
            shutil.copyfile(source / name, target / name)


def _describe(staging: Path, commit: Commit, *, zipped: str, wheel: str, version: str, root: Path) -> None:
    """Bills of materials and licences."""
    exported = {f"{EXPORTS}/{path.name}": path for path in (staging / EXPORTS).iterdir()}
    parts = {
        "bundle": (
            NAME,
            version,
            {zipped: staging / zipped, "models/model.pt": root / "bundle" / "models" / "model.pt"},
        ),
        "edge": ("etscnet-edge", wheel.split("-")[1], {wheel: staging / wheel, **exported}),
    }
    for part, required in requirements(root).items():
        name, number, files = parts[part]
        text = bill(name, number, dependencies=closure(required), files=files, made=commit.made, system=system())
        write_atomically(staging / f"{part}.cdx.json", text)
    write_licences(staging, checkout=root)
