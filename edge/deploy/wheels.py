"""Wheels, and what of them a target needs, by their own metadata."""

from __future__ import annotations

import email
import email.message
import hashlib
import zipfile
from pathlib import Path

from deploy.targets import Target
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

PACKAGE = "etscnet-edge"
EXTRAS = ("cpu", "png", "server")
ROOT = Requirement(f"{PACKAGE}[{','.join(EXTRAS)}]")


def needs(target: Target, folder: Path) -> tuple[dict[str, Path], set[str]]:
    """What the package with its extras comes to on the target, by the wheels' own metadata.

    Returns:
        Name -> its wheel in the folder; and the requirements that no wheel there satisfies.
    """
    present = {name_of(file): file for file in folder.glob("*.whl")}
    needed: dict[str, Path] = {}
    missing: set[str] = set()
    pending, seen = [ROOT], set()
    while pending:
        requirement = pending.pop()
        name, file = canonicalize_name(requirement.name), present.get(canonicalize_name(requirement.name))
        if file is None or not requirement.specifier.contains(version_of(file), prereleases=True):
            missing.add(f"{requirement.name}{requirement.specifier}")
            continue
        needed[name] = file
        extras = requirement.extras or {""}
        if (name, *sorted(extras)) in seen:
            continue
        seen.add((name, *sorted(extras)))
        for said in metadata(file).get_all("Requires-Dist", []):
            inner = Requirement(said)
            if inner.marker is None or any(inner.marker.evaluate(target.markers(extra)) for extra in extras):
                pending.append(inner)
    return needed, missing


def sha256(file: Path) -> str:
    """In hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def metadata(wheel: Path) -> email.message.Message:
    """What it says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(
            name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        )
        return email.message_from_bytes(archive.read(name))


def name_of(wheel: Path) -> str:
    """Its distribution's name, in normal form."""
    return parse_wheel_filename(wheel.name)[0]


def version_of(wheel: Path) -> str:
    """Its version."""
    return str(parse_wheel_filename(wheel.name)[1])
