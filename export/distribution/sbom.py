"""The bill of materials of a release: CycloneDX 1.6 in JSON, one for each part, checked against the schema that the library
brings.

A dependency has name, version, purl, licence, and what it needs itself. Its hash is not known: what is installed is not the
wheel that it came in. The files of the part itself have theirs. The same content gives the same bytes: its serial number is
made from it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from export.distribution.dependencies import Dependency
from export.distribution.licences import licence_of
from scripts.files import sha256

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's for addresses
LICENCE = "Apache-2.0"  # of the parts themselves


def bill(
    name: str,
    version: str,
    *,
    dependencies: Sequence[Dependency],
    files: Mapping[str, Path],
    made: datetime,
    system: str,
) -> str:
    """The bill of one part, as JSON.

    Args:
        name, version: of the part.
        dependencies: all that it stands on.
        files: its own files by their name in the release; one that ends in .pt, .onnx is a model.
        made: when, in UTC: the commit's time, so that the same commit gives the same bill.
        system: the Python and the system that the dependencies were looked up on.

    Raises:
        ValueError: the bill does not meet CycloneDX's schema.
    """
    root = Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=f"{name}@{version}",
        licenses=[_said(LICENCE)],
    )
    components = {one.name: _component(one) for one in dependencies}
    own = [_file(label, path) for label, path in sorted(files.items())]
    bom = Bom(components=[*components.values(), *own])
    bom.metadata = BomMetaData(
        component=root, timestamp=made.astimezone(UTC), properties=[Property(name="looked-up-on", value=system)]
    )
    direct = [components[one.name] for one in dependencies if one.direct]
    bom.register_dependency(root, [*direct, *own])
    for one in dependencies:
        bom.register_dependency(components[one.name], [components[need] for need in one.needs])
    seed = json.dumps([name, version, made.isoformat(), *sorted(str(one.purl or one.hashes) for one in bom.components)])
    bom.serial_number = uuid.uuid5(NAMESPACE, seed)
    text = str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"
    check_bill(text)
    return text


def check_bill(text: str) -> None:
    """CycloneDX 1.6's strict schema.

    Raises:
        ValueError: the bill does not meet it.
    """
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise ValueError(f"The bill of materials does not meet CycloneDX's schema: {str(fault).splitlines()[0]}")


def _component(one: Dependency) -> Component:
    purl = PackageURL("pypi", name=one.name, version=one.version)
    licence = licence_of(one.name, one.distribution).licence
    return Component(name=one.name, version=one.version, purl=purl, bom_ref=str(purl), licenses=[_said(licence)])


def _file(label: str, path: Path) -> Component:
    kind = ComponentType.MACHINE_LEARNING_MODEL if path.suffix in (".pt", ".onnx") else ComponentType.FILE
    digest = HashType(alg=HashAlgorithm.SHA_256, content=sha256(path))
    return Component(name=label, type=kind, bom_ref=f"file:{label}", hashes=[digest], licenses=[_said(LICENCE)])


def _said(licence: str) -> License:
    return LicenseFactory().make_from_string(licence)
