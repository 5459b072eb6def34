"""config.pbtxt of a served model, in Triton's own schema (`tritonclient.grpc.model_config_pb2`), each setting with its reason.

The text is printed by protobuf from messages of that schema, part by part, so that a reason can stand before each, and read back:
it can hold no field that Triton does not know.
Source: docs.nvidia.com/deeplearning/triton-inference-server (Model Configuration), github.com/triton-inference-server/common
(model_config.proto), github.com/triton-inference-server/onnxruntime_backend (README).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from export.triton import NAME
from export.triton.served import ServedModel
from scripts.errors import InputError

TYPES = {"float32": schema.TYPE_FP32}
QUEUE_S = 60  # how long a request may wait before it is refused
Part = tuple[str, Any]  # reason, message of schema.ModelConfig


@dataclass(frozen=True)
class Scheduling:
    """How requests come to the network.

    Attributes:
        instances: copies of the network that run at a time.
        threads: of ONNX Runtime, an instance; 0: its default, one a core.
        max_batch_size: of one run; 0: the file holds one image, nothing is batched.
        queue: requests that may wait; more are refused at once (503).
    """

    instances: int = 1
    threads: int = 0
    max_batch_size: int = 0
    queue: int = 4

    def check(self, served: ServedModel) -> None:
        """
        Raises:
            InputError: a number that is out of range, or a batch that the file does not take.
        """
        for name, least in (("instances", 1), ("threads", 0), ("max_batch_size", 0), ("queue", 1)):
            if (value := getattr(self, name)) < least:
                raise InputError(f"--{name} {value}", expected=f"{least} or more", remedy=f"Correct --{name}.")
        if self.max_batch_size and not served.batches:
            raise InputError(
                f"--max_batch_size {self.max_batch_size} for a file of one image",
                expected="0, or a form with a free batch",
                remedy="Leave it out, or export such a form: python -m export onnx --forms volume --dynamic_batch True.",
                file=served.file,
            )
        if served.batches and not self.max_batch_size:
            raise InputError(
                "a file of any number of images, with no --max_batch_size",
                expected="the largest batch that the memory holds",
                remedy="Give --max_batch_size, or take another --form.",
                file=served.file,
            )


def model_parts(served: ServedModel, scheduling: Scheduling, *, version: int, warmup_file: str) -> list[Part]:
    """The configuration, part by part in the order of the file.

    Args:
        served: what is served.
        scheduling: how, checked here.
        version: of the one folder that is served.
        warmup_file: its name in the folder `warmup`, the golden image's raw bytes.

    Raises:
        InputError: see Scheduling.check; a type that this module does not know.
    """
    scheduling.check(served)
    batch = bool(scheduling.max_batch_size)
    inputs, outputs = (
        {
            name: (_type(served, kind, name), shape[1:] if batch else shape)
            for name, shape in served.shapes(kind).items()
        }
        for kind in ("inputs", "outputs")
    )
    parts = [
        (
            f"Written by `python -m export triton`, from {served.file.name}, SHA-256\n{served.sha256}.\n"
            f"{served.manifest['intended_use']} {' '.join(served.manifest['warnings'])}".rstrip(),
            schema.ModelConfig(
                name=NAME,
                backend=served.backend,
                platform=served.platform,
                default_model_filename=served.stored_as,
            ),
        ),
        (
            "A prepared image, as the export's manifest says it: reading, orientation, brain extraction and the checks of a\n"
            "study are the client's, because a graph can't say what is wrong with an image.",
            schema.ModelConfig(
                input=[
                    schema.ModelInput(name=name, data_type=kind, dims=dims) for name, (kind, dims) in inputs.items()
                ],
                output=[
                    schema.ModelOutput(name=name, data_type=kind, dims=dims) for name, (kind, dims) in outputs.items()
                ],
            ),
        ),
        _batching(scheduling),
        (
            "One version and no other: threshold, parameters and warm-up below are of this one. An earlier folder may stay for\n"
            "the way back, by its own configuration.",
            schema.ModelConfig(version_policy={"specific": {"versions": [version]}}),
        ),
        _instances(served, scheduling),
        (
            "Ready only after the golden image has run: the first run is slower, and a graph that does not run is seen at once.\n"
            "Triton does not look at the scores: `python -m export triton-check` does.",
            schema.ModelConfig(
                model_warmup=[
                    schema.ModelWarmup(
                        name="golden",
                        batch_size=1,
                        count=1,
                        inputs={
                            name: schema.ModelWarmup.Input(data_type=kind, dims=dims, input_data_file=warmup_file)
                            for name, (kind, dims) in inputs.items()
                        },
                    )
                ]
            ),
        ),
        (
            "No answer is kept (both off): it would be a patient's, and no study is asked for twice. One answer a request.",
            schema.ModelConfig(response_cache={"enable": False}, model_transaction_policy={"decoupled": False}),
        ),
        *_runtime(served, scheduling),
        (
            "What the scores mean. Triton does not use it; clients read it from /v2/models/etscnet/config.",
            schema.ModelConfig(parameters=_strings(meaning(served))),
        ),
    ]
    return parts


def meaning(served: ServedModel) -> dict[str, str]:
    """What a client must know of the scores, and of where they come from: name -> text, lists and objects as JSON."""
    said = served.manifest
    told = {
        "intended_use": said["intended_use"],
        "warnings": said["warnings"],
        "model_version": said["version"],
        "modalities": said["modalities"],
        "fusion_weights": said["fusion_weights"],
        "threshold": said["threshold"],
        "temperature": said["temperature"]["temperature"],
        "labels": said["labels"],
        "weights_sha256": said["origin"]["sha256"],
        "file_sha256": served.sha256,
        "form": served.form,
        "precision": served.precision,
    }
    for name in ("version", "gpu", "compute_capability", "driver") if served.engine else ():
        told[f"tensorrt_{name}"] = served.engine[name]
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}


def config_text(parts: Sequence[Part]) -> str:
    """The file: a reason as comments before each part.

    Raises:
        ValueError: what was printed is not what was meant.
    """
    whole, blocks = schema.ModelConfig(), []
    for reason, message in parts:
        whole.MergeFrom(message)
        comment = "".join(f"# {line}\n" for line in reason.splitlines())
        blocks.append(comment + text_format.MessageToString(message, use_short_repeated_primitives=True))
    text = "\n".join(blocks)
    if text_format.Parse(text, schema.ModelConfig()) != whole:
        raise ValueError("config.pbtxt does not read back as it was written.")
    return text


def _batching(scheduling: Scheduling) -> Part:
    queue = {
        "max_queue_size": scheduling.queue,
        "timeout_action": schema.ModelQueuePolicy.REJECT,
        "default_timeout_microseconds": QUEUE_S * 10**6,
    }
    if scheduling.max_batch_size:
        reason = (
            f"Batches of what waits, up to {scheduling.max_batch_size} images. Each is reckoned with the memory of one,\n"
            "and none waits for others to come. Of what waits"
        )
    else:
        reason = (
            "No batching: the graph holds one image, written for little memory, and a second one in a run would need as much\n"
            "again. The batcher is here for its queue alone, which nothing else bounds:"
        )
    reason += f"\nat most {scheduling.queue} requests wait, none longer than {QUEUE_S} s; the others get a 503 and come again."
    batching = schema.ModelDynamicBatching(default_queue_policy=schema.ModelQueuePolicy(**queue))
    return reason, schema.ModelConfig(max_batch_size=scheduling.max_batch_size, dynamic_batching=batching)


def _instances(served: ServedModel, scheduling: Scheduling) -> Part:
    if served.memory_mb is None:
        each = "how much its builder did not say"
    else:
        source = "planned by its builder" if served.engine else "measured on a CPU"
        image = " an image of a batch" if scheduling.max_batch_size else ""
        each = f"{served.memory_mb} MB{image}, {source}"
    return (
        f"Each instance holds its own copy ({each}).\nMore of them answer more requests at a time, and share the same processor.",
        schema.ModelConfig(
            instance_group=[
                schema.ModelInstanceGroup(
                    count=scheduling.instances,
                    kind=schema.ModelInstanceGroup.KIND_GPU
                    if served.device == "gpu"
                    else schema.ModelInstanceGroup.KIND_CPU,
                )
            ]
        ),
    )


def _runtime(served: ServedModel, scheduling: Scheduling) -> list[Part]:
    """Settings of the backend itself."""
    if served.engine:
        built = (
            f"TensorRT {served.engine['version']} for {served.engine['gpu']} ({served.engine['compute_capability']})"
        )
        return [(f"The engine was built by {built}. It loads with that TensorRT and GPU alone.", schema.ModelConfig())]
    settings = {"enable_mem_pattern": "0", "execution_mode": "0"}
    if scheduling.threads:
        settings["intra_op_thread_count"] = str(scheduling.threads)
    reason = (
        "ONNX Runtime: no memory pattern, which would keep a place for every tensor through the whole run; the branches one\n"
        "after the other, which hold half the memory of both."
    )
    message = schema.ModelConfig(parameters=_strings(settings))
    if served.device == "gpu":
        reason += "\nNo TF32, which rounds the factors of every product to 10 bits."
        gpu = message.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
        gpu.parameters["use_tf32"] = "0"
    return [(reason, message)]


def _strings(values: dict[str, str]) -> dict[str, Any]:
    return {name: schema.ModelParameter(string_value=value) for name, value in values.items()}


def _type(served: ServedModel, kind: str, name: str) -> int:
    dtype = served.manifest[kind][name]["dtype"]
    if dtype not in TYPES:
        raise InputError(f"{name} is {dtype}", expected=f"one of {list(TYPES)}", remedy="Teach config.py this type.")
    return int(TYPES[dtype])
