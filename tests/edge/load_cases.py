"""Requests good, bad and malicious, each with the answer that is right: what the server is loaded with."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from etscnet_edge.classifier import Classifier

from tests.conftest import write_study

INFER = "/v2/models/etscnet/infer"
LENGTH = "Inference-Header-Content-Length"
Files = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        name: of the case.
        path: of the request.
        statuses: of the answers that are right.
        words: what the answer's error says; "" for a score.
        files: a form's.
        body, headers: of any other request; a body of several pieces is sent in chunks.
        score: that must come back, within 1e-5.
    """

    name: str
    path: str
    statuses: tuple[int, ...]
    words: str = ""
    files: Files = field(default_factory=dict)
    body: bytes | tuple[bytes, ...] = b""
    headers: dict[str, str] = field(default_factory=dict)
    score: float | None = None


def cases(exports: Path, folder: Path, *, body_limit: int) -> list[Case]:
    """All of them; the good ones with the scores of the package itself."""
    found: list[Case] = []
    with Classifier(exports, threads=1) as classifier:
        for seed in (1, 2, 3):
            pair = write_study(folder, f"sub-{seed:02d}", seed=seed)
            files = {name: (Path(path).name, Path(path).read_bytes()) for name, path in pair.items()}
            result = classifier.predict(pair)
            found.append(Case(f"good {seed}", "/v1/studies", (200,), files=files, score=result.score))
            found += _tensors(result.image, result.score, seed)
    good = found[0].files
    content = gzip.decompress(good["t2w"][1])
    named = {name: (f"../../../../etc/{name}.nii.gz", data) for name, (_, data) in good.items()}
    found.append(Case("path names", "/v1/studies", (200,), files=named, score=found[0].score))
    for name, words, spoilt in (
        ("the same twice", "are the same image", good["flair"][1]),
        ("empty", "the file is empty", b""),
        ("truncated", "cut short or damaged", good["t2w"][1][: len(good["t2w"][1]) // 2]),
        ("checksum", "cut short or damaged", good["t2w"][1][:-8] + b"\0" * 8),
        ("zip", "not NIfTI", b"PK\3\4" + b"\0" * 2000),
        ("text", "not NIfTI", gzip.compress(b"Patient: Jane Doe\n" * 50)),
        ("bomb behind the image", "after its image", gzip.compress(content + bytes(200_000_000), 1)),
        (
            "bomb of an image",
            "voxels",
            _gzip(_with(content, dim=(3, 400, 400, 400, 1, 1, 1, 1)) + bytes(128_000_000)),
        ),
        ("huge dims", "cut short or damaged", _gzip(_with(content, dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)))),
        ("negative dims", "", _gzip(_with(content, dim=(3, -48, 56, 20, 1, 1, 1, 1)))),
        ("no dims", "", _gzip(_with(content, dim=(0, 0, 0, 0, 0, 0, 0, 0)))),
        ("NaN header", "", _gzip(_with(content, srow=float("nan")))),
        ("infinite header", "", _gzip(_with(content, srow=float("inf")))),
        ("complex", "complex numbers", _gzip(_with(content, datatype=(32, 64)) + bytes(10**6))),
        ("colours", "colours", _gzip(_with(content, datatype=(128, 24)) + bytes(10**6))),
        ("no datatype", "", _gzip(_with(content, datatype=(77, 16)))),
        (
            "NaN voxels",
            "NaN or infinite",
            _gzip(_with(content, datatype=(16, 32))[:352] + np.full(62400, np.nan, "<f4").tobytes()),
        ),
        ("infinite intercept", "invalid intercept", _gzip(_with(content, intercept=float("inf")))),
    ):
        files = {**good, "t2w": ("sub-01_T2w.nii.gz", spoilt)}
        found.append(Case(name, "/v1/studies", (422,), words, files=files))
    found.append(
        Case("one modality", "/v1/studies", (400,), "expected ['flair', 't2w']", files={"flair": good["flair"]})
    )
    found += _broken_requests(body_limit)
    return found


def _tensors(image: np.ndarray, score: float, seed: int) -> list[Case]:
    tensor = {"name": "image", "datatype": "FP32", "shape": list(image.shape)}
    binary = _binary(tensor, image.astype("<f4").tobytes())
    plain = json.dumps({"inputs": [{**tensor, "data": np.round(image.ravel(), 7).tolist()}]}).encode()
    good = [
        Case(f"binary tensor {seed}", INFER, (200,), body=binary[0], headers=binary[1], score=score),
        Case(f"JSON tensor {seed}", INFER, (200,), body=plain, score=score),
    ]
    if seed > 1:
        return good
    spoilt = image.copy()
    spoilt[0, 0, 0, 0, 0] = np.nan
    cut = _binary(tensor, image.astype("<f4").tobytes()[:-400])
    with_nan = _binary(tensor, spoilt.astype("<f4").tobytes())
    doubles = _binary({**tensor, "datatype": "FP64"}, image.astype("<f8").tobytes())
    negative = _binary({**tensor, "shape": [1, -2, *image.shape[2:]]}, b"")
    return [
        *good,
        Case("cut tensor", INFER, (400,), "binary_data_size", body=cut[0], headers=cut[1]),
        Case("NaN tensor", INFER, (400,), "expected images that were prepared", body=with_nan[0], headers=with_nan[1]),
        Case("doubles", INFER, (413,), "An image has", body=doubles[0], headers=doubles[1]),
        Case("negative shape", INFER, (400,), "-2", body=negative[0], headers=negative[1]),
        Case("cut JSON", INFER, (400,), "not JSON", body=plain[: len(plain) // 2]),
        Case("deep JSON", INFER, (400,), "not JSON", body=b"[" * 100_000),
    ]


def _broken_requests(body_limit: int) -> list[Case]:
    form = {"content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="flair"; filename="a.nii.gz"\r\n\r\n'
    pieces = (part, *[b"x" * 2**20] * (body_limit // 2**20 + 2))
    return [
        Case("oversized", "/v1/studies", (413,), "larger than", body=b"x" * (body_limit + 10**6), headers=form),
        Case("oversized, in chunks", "/v1/studies", (413,), "larger than", body=pieces, headers=form),
        Case(
            "unfinished form", "/v1/studies", (400,), "expected ['flair', 't2w']", body=part + b"x" * 1000, headers=form
        ),
        Case("no form", "/v1/studies", (415,), "expected multipart/form-data", body=b"{}"),
        Case(
            "zipped body",
            INFER,
            (415,),
            "content encoding",
            body=gzip.compress(b"{}"),
            headers={"content-encoding": "gzip"},
        ),
        Case("nowhere", "/v1/../../etc/passwd", (404,), "Not Found"),
    ]


def _binary(tensor: dict[str, Any], raw: bytes) -> tuple[bytes, dict[str, str]]:
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    return head + raw, {LENGTH: str(len(head))}


def _gzip(content: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as stream:
        stream.write(content)
    return out.getvalue()


def _with(
    content: bytes,
    *,
    dim: tuple[int, ...] | None = None,
    srow: float | None = None,
    datatype: tuple[int, int] | None = None,
    intercept: float | None = None,
) -> bytes:
    """A NIfTI-1 file with another header."""
    changed = bytearray(content)
    write: Callable[..., None] = lambda place, form, *values: struct.pack_into(form, changed, place, *values)  # noqa: E731
    if dim is not None:
        write(40, "<8h", *dim)
    if datatype is not None:
        write(70, "<2h", *datatype)
    if intercept is not None:
        write(112, "<2f", 1.0, intercept)
    if srow is not None:
        write(252, "<2h", 0, 1)
        write(280, "<4f", srow, 0.0, 0.0, 0.0)
    return bytes(changed)
