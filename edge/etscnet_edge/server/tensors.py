"""Tensors as the Open Inference Protocol v2 carries them: numbers in JSON, or raw bytes behind it.

Source: github.com/kserve/open-inference-protocol (REST), Triton's binary tensor data extension.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.server.faults import Refused

HEAD_BYTES = 64 * 1024  # of the JSON before raw bytes
NUMBER_BYTES = 32  # of a number as JSON
JSON_BYTES = 32 * 10**6
LENGTH = "Inference-Header-Content-Length"
Array = NDArray[np.float32]


@dataclass(frozen=True)
class InferenceRequest:
    """One request.

    Attributes:
        image: (1, M, x, y, z) float32, finite, in [0, 1], no channel constant.
        name: its "id"; None where it has none.
        binary: output -> whether it is answered as raw bytes; in the order asked for.
    """

    image: Array
    name: str | None
    binary: dict[str, bool]


def parse_request(
    body: bytes, json_length: str | None, *, shape: Sequence[int], outputs: Sequence[str]
) -> InferenceRequest:
    """Read a request.

    Args:
        body: of it.
        json_length: the header "Inference-Header-Content-Length": where the raw bytes begin; None: there are none.
        shape: what the image must have.
        outputs: the names that may be asked for.

    Raises:
        Refused: 400, with what is wrong.
    """
    said, raw = _split(body, json_length)
    inputs = said.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(400, f"'inputs' is {_short(inputs)}; expected a list of one tensor, 'image'.")
    image = _tensor(inputs[0], raw, shape)
    parameters, wanted = _object(said, "parameters"), said.get("outputs")
    every = bool(parameters.get("binary_data_output", False))
    if wanted is None:
        binary = dict.fromkeys(outputs, every)
    else:
        if not isinstance(wanted, list) or not wanted or not all(isinstance(output, dict) for output in wanted):
            raise Refused(400, f"'outputs' is {_short(wanted)}; expected a list of some of {list(outputs)}.")
        binary = {}
        for output in wanted:
            name, asked = output.get("name"), _object(output, "parameters")
            if name not in outputs or set(asked) - {"binary_data"}:
                found = f"the output {_short(name)} with {_short(asked)}"
                raise Refused(400, f"{found}; expected one of {list(outputs)}, with 'binary_data' or nothing.")
            binary[name] = bool(asked.get("binary_data", every))
    name = said.get("id")
    return InferenceRequest(
        image, None if name is None else _short(name) if not isinstance(name, str) else name[:200], binary
    )


def format_response(
    head: Mapping[str, Any], tensors: Mapping[str, Array], binary: Mapping[str, bool]
) -> tuple[bytes, int]:
    """The answer's body, and the length of its JSON; they are of one length where nothing is raw.

    Args:
        head: everything but the outputs.
        tensors: name -> float32.
        binary: names that are answered, in their order -> whether as raw bytes.
    """
    outputs, raw = [], []
    for name, as_bytes in binary.items():
        tensor = np.ascontiguousarray(tensors[name], dtype="<f4")
        output: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "datatype": "FP32"}
        if as_bytes:
            raw.append(tensor.tobytes())
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = tensor.ravel().tolist()
        outputs.append(output)
    text = json.dumps({**head, "outputs": outputs}).encode()
    return b"".join([text, *raw]), len(text)


def largest_request(shape: Sequence[int], json_length: str | None) -> tuple[int, str]:
    """Bytes that a request may have, and what to do where it has more: JSON takes a hundred times its size while it is read.

    Args:
        shape: of the image.
        json_length: as of `parse_request`.
    """
    count = math.prod(shape)
    if json_length is not None:
        return HEAD_BYTES + 4 * count, f"An image has {4 * count} bytes."
    return min(HEAD_BYTES + NUMBER_BYTES * count, JSON_BYTES), "Send the tensor in its binary form."


def _split(body: bytes, json_length: str | None) -> tuple[dict[str, Any], bytes | None]:
    length = len(body)
    if json_length is not None:
        most = min(len(body), HEAD_BYTES)
        if not re.fullmatch(r"[0-9]{1,9}", json_length) or int(json_length) > most:
            raise Refused(400, f"{LENGTH} is {json_length[:40]!r}; expected at most {most}.")
        length = int(json_length)
    try:
        said = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The request is not JSON ({str(error)[:200]}); see the Open Inference Protocol.") from error
    if not isinstance(said, dict):
        raise Refused(400, f"The request is {_short(said)}; expected a JSON object.")
    return said, None if json_length is None else body[length:]


def _tensor(said: dict[str, Any], raw: bytes | None, shape: Sequence[int]) -> Array:
    found = {key: said.get(key) for key in ("name", "datatype", "shape")}
    expected = {"name": "image", "datatype": "FP32", "shape": list(shape)}
    if found != expected:
        raise Refused(400, f"The input is {_short(found)}; expected {expected}.")
    parameters, count = _object(said, "parameters"), int(np.prod(shape))
    if strange := set(parameters) - {"binary_data_size"}:
        raise Refused(400, f"The input has {_short(sorted(strange))}; expected its data in the request.")
    if "binary_data_size" in parameters:
        size = parameters["binary_data_size"]
        if raw is None or size != 4 * count or len(raw) != size or "data" in said:
            have = "none" if raw is None else len(raw)
            raise Refused(
                400, f"binary_data_size is {_short(size)}, bytes behind the JSON: {have}; expected {4 * count}."
            )
        image = np.frombuffer(raw, dtype="<f4")
    else:
        image = _numbers(said.get("data"), count)
    image = image.reshape(shape)
    least, most = image.min(axis=(2, 3, 4)), image.max(axis=(2, 3, 4))  # (1, M); NaN where one voxel is
    if not (np.isfinite([least, most]).all() and least.min() >= 0 and most.max() <= 1 and (least < most).all()):
        found_range = [[float(low), float(high)] for low, high in zip(least[0], most[0], strict=True)]
        raise Refused(
            400,
            f"The channels lie in {found_range}; expected images that were prepared as the model's: finite, from 0 to 1. "
            "Send the files to /v1/studies instead.",
        )
    return image


def _numbers(data: Any, count: int) -> Array:
    """Nested lists of numbers -> (count,) float32. Not by np.asarray: it makes a string of every entry where one is a string."""
    found = np.empty(count, dtype=np.float32)
    size, waiting = 0, [iter([data])]
    while waiting:
        entry = next(waiting[-1], waiting)
        if entry is waiting:
            waiting.pop()
        elif isinstance(entry, list):
            waiting.append(iter(entry))
        elif type(entry) not in (int, float) or size == count:
            break
        else:
            try:
                found[size] = entry
            except OverflowError:
                break
            size += 1
    else:
        if size == count:
            return found
    raise Refused(400, f"'data' is no list of {count} numbers; its first {size} are numbers.")


def _object(said: dict[str, Any], key: str) -> dict[str, Any]:
    value = said.get(key, {})
    if not isinstance(value, dict):
        raise Refused(400, f"{key!r} is {_short(value)}; expected an object.")
    return value


def _short(value: object) -> str:
    """For an error; of a container no more than its first entries is looked at."""
    return reprlib.repr(value)
