"""`release.json`: every file of a release with its size and SHA-256, versions, commit, what is known of vulnerabilities; and
its check.

    release.json  release.json.sig (Ed25519)  SHA256SUMS (for `sha256sum -c`)

The signature vouches for release.json, release.json for all other files but SHA256SUMS, which says the same in another form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from export.distribution.signature import check_signature, key_id, read_public_key, signature_of
from export.distribution.unpack import unpack
from scripts.answer import Answer
from scripts.errors import InputError
from scripts.files import sha256, write_atomically

MANIFEST = "release.json"
SUMS = "SHA256SUMS"
SCHEMA = 1
REMEDY = "Do not use the release. Get it again."


def write_manifest(folder: Path, said: Mapping[str, Any]) -> Path:
    """Write release.json and SHA256SUMS for the files that are in the folder.

    Args:
        folder: the release.
        said: what stands in it before the files.
    """
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = folder / MANIFEST
    content = {"schema": SCHEMA, **said, "files": files}
    write_atomically(manifest, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    sums = {**{name: str(entry["sha256"]) for name, entry in files.items()}, MANIFEST: sha256(manifest)}
    write_atomically(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return manifest


def read_release(folder: str | Path, public_key: str | Path) -> dict[str, Any]:
    """What a release's manifest says, signature and every file checked.

    Args:
        folder: the release.
        public_key: of its makers, from elsewhere than the release.

    Raises:
        InputError: the signature is not theirs, or a file is missing, another, or not named.
    """
    root = Path(folder)
    content = check_signature(root / MANIFEST, read_public_key(public_key))
    said: dict[str, Any] = json.loads(content)
    if said.get("schema") != SCHEMA:
        found = f"a manifest of schema {said.get('schema')}"
        raise InputError(found, expected=f"schema {SCHEMA}", remedy="Check it with its own version.", file=root)
    apart = {MANIFEST, signature_of(MANIFEST).name, SUMS}
    there = {
        path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    unnamed = sorted(there.keys() - said["files"].keys() - apart)
    if unnamed:
        raise InputError(f"{unnamed[0]} is not named", expected=f"the files of {MANIFEST}", remedy=REMEDY, file=root)
    for name, entry in said["files"].items():
        file = root.joinpath(*PurePosixPath(name).parts)
        if name not in there or file.is_symlink():
            raise InputError("is missing, or a link", expected=f"a file, {MANIFEST} names it", remedy=REMEDY, file=file)
        if file.stat().st_size != entry["bytes"] or sha256(file) != entry["sha256"]:
            expected = f"{entry['bytes']} bytes of SHA-256 {entry['sha256']}"
            raise InputError("is another file", expected=expected, remedy=REMEDY, file=file)
    return said


def verify_release(release: str | Path, public_key: str | Path, *, output_dir: str | Path | None = None) -> Answer:
    """Check a release's signature and every file of it, and unpack its bundle if wanted.

    Args:
        release: its folder.
        public_key: file of its makers' key, from elsewhere than the release.
        output_dir: folder where the bundle goes; None unpacks nothing.

    Example:
        python -m export verify --release dist/release --public_key etscnet-release.key.pub --output_dir bundles

    Returns:
        Whose release it is, and its manifest.

    Raises:
        InputError: the signature is not theirs, or a file is missing, another, or not named. Nothing is unpacked then.
    """
    said = read_release(release, public_key)
    key = key_id(read_public_key(public_key))
    lines = [f"{said['name']} {said['version']}, commit {said['commit']}: {len(said['files'])} files, signed by {key}"]
    if output_dir is not None:
        archive = said["archive"]
        files = unpack(Path(release) / archive, output_dir, expected_sha256=said["files"][archive]["sha256"])
        lines.append(f"{len(files)} files of {archive} unpacked to {output_dir}")
    return Answer("\n".join(lines), said)
