"""`python -m export triton-check`: whether a running server is the exported model.

By what it says of itself, and by the scores of the golden case.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from export.manifest import read_manifest
from export.triton.client import Client, Description, describe, open_client, score
from export.triton.golden import GoldenCase, golden_case
from scripts.answer import Answer
from scripts.errors import failed_check

SAID = ("model_version", "modalities", "threshold", "intended_use")  # that a server must say as the manifest does
KINDS = {True: "binary", False: "JSON"}
JSON_VOXELS = 10**6  # an image of more is not sent as JSON: it takes some 20 bytes a number, and servers refuse it


@dataclass(frozen=True)
class Point:
    """One thing that was looked at.

    Attributes:
        what: of it.
        found, expected: in words.
        agrees: whether they agree.
    """

    what: str
    found: str
    expected: str
    agrees: bool


@dataclass(frozen=True)
class Verdict:
    """Whether the server is the exported model.

    Attributes:
        server: name and version, as it says them.
        points: everything that was looked at.
    """

    server: str
    points: tuple[Point, ...]

    def __bool__(self) -> bool:
        return all(point.agrees for point in self.points)

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {**asdict(self), "accepted": bool(self)}

    def table(self) -> str:
        """In Markdown."""
        rows = [
            f"| {point.what} | {point.found} | {point.expected} | {'yes' if point.agrees else 'NO'} |"
            for point in self.points
        ]
        return "\n".join(["| of the server | found | expected | agrees |", "|---|---|---|---|", *rows])


def check_server(
    url: str,
    exports: str | Path = "exports",
    *,
    version: int = 1,
    token_file: str | Path | None = None,
    ca_file: str | Path | None = None,
    timeout_s: float = 60.0,
) -> Answer:
    """Ask a server of the Open Inference Protocol v2 for the golden case, in JSON and binary, and compare with torch.

    Args:
        url: http://HOST:PORT: the edge server's, Triton's or KServe's.
        exports: folder of etscnet.json: what is expected.
        version: of the model, by the protocol.
        token_file: holds the token of "Authorization: Bearer".
        ca_file: the certificates that vouch for the server; None: the system's.
        timeout_s: the longest wait for an answer, in seconds.

    Example:
        python -m export triton-check --url http://127.0.0.1:8000 --exports exports

    Returns:
        A table of what was looked at.

    Raises:
        FailedCheckError: the server serves something else, or its scores are not torch's to the manifest's tolerance.
        InputError: it does not answer.
    """
    manifest = read_manifest(exports)
    golden = golden_case(exports, manifest)
    with open_client(url, token_file=token_file, ca_file=ca_file, seconds=timeout_s) as client:
        model = describe(client, version=str(version))
        points = [*_described(model, manifest), *_scored(client, model, manifest, golden)]
    verdict = Verdict(model.server, tuple(points))
    if not verdict:
        raise failed_check(
            f"{url} ({model.server}) is not the exported model\n{verdict.table()}",
            expected=f"the model {manifest['version']}, whose scores are torch's",
            remedy="Do not use it: write its repository again, or give it this export.",
            file=Path(exports),
            data=verdict.to_dict(),
        )
    text = f"{verdict.table()}\n{url} ({model.server}) is the exported model {manifest['version']}."
    return Answer(text, verdict.to_dict())


def _described(model: Description, manifest: dict[str, Any]) -> list[Point]:
    """What the server says of the model."""
    points = []
    for kind, told in (("inputs", model.inputs), ("outputs", model.outputs)):
        shapes = {name: ("FP32", list(tensor["shape"])) for name, tensor in manifest[kind].items()}
        one = {  # -1 is a free batch
            name: (kind_of, [1, *shape[1:]] if shape[:1] == [-1] else shape) for name, (kind_of, shape) in told.items()
        }
        points.append(Point(kind, _tensors(told), _tensors(shapes), one == shapes))
    expected = {"model_version": manifest["version"], **{name: manifest[name] for name in SAID[1:]}}
    for name, value in expected.items():
        found = model.said.get(name, "not said")
        points.append(Point(name, str(found), str(value), found == value))
    return points


def _scored(client: Client, model: Description, manifest: dict[str, Any], golden: GoldenCase) -> list[Point]:
    """The golden case by every way in and out."""
    tolerances = {form["precision"]: float(form["tolerance"]) for form in manifest["forms"].values()}
    precision = model.said.get("precision", "float32")
    allowed = tolerances.get(precision, min(tolerances.values()))
    labels = manifest["labels"]
    decision = labels[str(int(float(golden.pred[0, 0]) >= manifest["threshold"]))]
    points = []
    for binary_input, binary_output in product((True, False), repeat=2):
        if not binary_input and golden.image.size > JSON_VOXELS:
            continue
        answer = score(client, model, golden.image, binary_input=binary_input, binary_output=binary_output)
        way = f"{KINDS[binary_input]} in, {KINDS[binary_output]} out"
        for name, expected in (("pred", golden.pred), ("branch_scores", golden.branch_scores)):
            found = getattr(answer, name)
            if found.shape != expected.shape:
                points.append(Point(f"{name}, {way}", f"shape {found.shape}", f"shape {expected.shape}", False))
                continue
            difference = float(np.abs(found - expected).max())
            words = f"torch's to {allowed:.0e}"
            points.append(Point(f"{name}, {way}", f"differs by {difference:.1e}", words, difference <= allowed))
        if "decision" in answer.said:
            said = answer.said["decision"]
            points.append(Point(f"decision, {way}", str(said), decision, said == decision))
    return points


def _tensors(described: dict[str, tuple[str, list[int]]]) -> str:
    return ", ".join(f"{name} {datatype} {shape}" for name, (datatype, shape) in described.items())
