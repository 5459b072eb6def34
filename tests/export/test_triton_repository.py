"""A model repository: Triton's own schema reads it, it is the exported graph's interface, and its warm-up is the golden image."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from export.manifest import read_manifest
from export.triton.config import Scheduling, config_text
from export.triton.golden import golden_case
from export.triton.repository import write_repository
from export.triton.served import served_model
from scripts.errors import InputError
from tests.export.triton_stand_in import read_config


@pytest.fixture(scope="module")
def repository(small_exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton")
    write_repository(small_exports, folder)
    return folder / "models"


@pytest.fixture
def copy(small_exports: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_exports, tmp_path / "exports")
    return tmp_path / "exports"


def with_engine(folder: Path, **changes: object) -> bytes:
    """Enter an engine in the manifest, as `export.engine` does it."""
    engine = b"an engine's bytes"
    (folder / "etscnet.engine").write_bytes(engine)
    manifest = json.loads((folder / "etscnet.json").read_text())
    digest = hashlib.sha256(engine).hexdigest()
    record = {
        "target": "tensorrt",
        "version": "10.3.0",
        "gpu": "Orin",
        "driver": "540.4",
        "compute_capability": "8.7",
        "form": "gpu-fp32",
        "onnx_sha256": manifest["files"]["etscnet.gpu-fp32.onnx"]["sha256"],
        "engine_sha256": digest,
        "weights_bytes": 40 * 10**6,
        "activation_bytes": 8 * 10**6,
        "interface_bytes": 2 * 10**6,
        **changes,
    }
    manifest["engines"] = {"etscnet.engine": record}
    manifest["files"]["etscnet.engine"] = {"sha256": digest, "bytes": len(engine)}
    (folder / "etscnet.json").write_text(json.dumps(manifest))
    return engine


def test_the_configuration_is_the_graphs_interface(repository: Path) -> None:
    config = read_config(repository)
    graph = onnx.load(repository / "etscnet" / "1" / config.default_model_filename).graph
    for told, values in ((config.input, graph.input), (config.output, graph.output)):
        kinds = {tensor.name: (schema.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in told}
        assert kinds == {
            value.name: ("TYPE_FP32", [edge.dim_value for edge in value.type.tensor_type.shape.dim]) for value in values
        }
        assert {value.type.tensor_type.elem_type for value in values} == {onnx.TensorProto.FLOAT}
    assert (config.name, config.backend, config.platform) == ("etscnet", "onnxruntime", "onnxruntime_onnx")


def test_the_file_is_the_exports(repository: Path, small_exports: Path) -> None:
    assert (repository / "etscnet" / "1" / "model.onnx").read_bytes() == (small_exports / "etscnet.onnx").read_bytes()
    folders = {path.name for path in (repository / "etscnet").iterdir()}
    assert folders == {"1", "warmup", "config.pbtxt"} and [path.name for path in repository.iterdir()] == ["etscnet"]


def test_the_warm_up_is_the_golden_image(repository: Path, small_exports: Path) -> None:
    (warmup,) = read_config(repository).model_warmup
    given = warmup.inputs["image"]
    raw = (repository / "etscnet" / "warmup" / given.input_data_file).read_bytes()
    assert len(raw) == 4 * np.prod(given.dims) and warmup.batch_size == 1
    image = golden_case(small_exports, read_manifest(small_exports)).image
    assert np.array_equal(np.frombuffer(raw, "<f4").reshape(given.dims), image)
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.01


def test_one_image_a_run_one_version_one_instance_and_a_bounded_queue(repository: Path) -> None:
    config = read_config(repository)
    assert config.max_batch_size == 0 and not config.dynamic_batching.preferred_batch_size
    policy = config.dynamic_batching.default_queue_policy
    assert policy.max_queue_size == 4 and policy.timeout_action == schema.ModelQueuePolicy.REJECT
    assert policy.default_timeout_microseconds == 60_000_000
    assert list(config.version_policy.specific.versions) == [1]
    (group,) = config.instance_group
    assert group.count == 1 and group.kind == schema.ModelInstanceGroup.KIND_CPU
    assert not config.response_cache.enable and not config.model_transaction_policy.decoupled


def test_every_setting_has_its_reason(repository: Path) -> None:
    text = (repository / "etscnet" / "config.pbtxt").read_text()
    blocks = text.strip().split("\n\n")
    assert len(blocks) == 9 and all(block.startswith("# ") for block in blocks)
    assert "No batching" in text and "measured on a CPU" in text and "Research only" in blocks[0]


def test_the_parameters_say_what_the_scores_mean(repository: Path, small_exports: Path) -> None:
    manifest = read_manifest(small_exports)
    found = {name: value.string_value for name, value in read_config(repository).parameters.items()}
    assert float(found["threshold"]) == manifest["threshold"]
    assert json.loads(found["fusion_weights"]) == manifest["fusion_weights"]
    assert json.loads(found["modalities"]) == ["flair", "t2w"] and found["model_version"] == manifest["version"]
    assert found["file_sha256"] == manifest["files"]["etscnet.onnx"]["sha256"]
    assert found["intended_use"] == "Research only, not for diagnosis." and "synthetic" in found["warnings"]
    assert found["enable_mem_pattern"] == "0" and "intra_op_thread_count" not in found


def test_the_same_export_gives_the_same_files(small_exports: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_repository(small_exports, tmp_path / name, threads=2, instances=2)
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    for file in files - {Path("models/etscnet/config.pbtxt"), Path("kserve.yaml")}:  # these say measured memory
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    config = read_config(tmp_path / "a" / "models")
    assert config == read_config(tmp_path / "b" / "models") and config.instance_group[0].count == 2
    assert config.parameters["intra_op_thread_count"].string_value == "2"


def test_on_a_gpu_it_is_the_gpus_form_without_tf32(small_exports: Path, tmp_path: Path) -> None:
    write_repository(small_exports, tmp_path, device="gpu")
    config = read_config(tmp_path / "models")
    (cuda,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert cuda.name == "cuda" and dict(cuda.parameters) == {"use_tf32": "0"}
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    stored = (tmp_path / "models" / "etscnet" / "1" / "model.onnx").read_bytes()
    assert stored == (small_exports / "etscnet.gpu-fp32.onnx").read_bytes()


def test_an_engine_is_served_with_what_built_it(copy: Path, tmp_path: Path) -> None:
    engine = with_engine(copy)
    write_repository(copy, tmp_path / "triton", backend="tensorrt")
    config = read_config(tmp_path / "triton" / "models")
    assert (config.backend, config.platform) == ("tensorrt", "tensorrt_plan")
    assert (tmp_path / "triton" / "models" / "etscnet" / "1" / "model.plan").read_bytes() == engine
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    assert config.parameters["tensorrt_version"].string_value == "10.3.0"
    assert config.parameters["tensorrt_gpu"].string_value == "Orin"
    text = (tmp_path / "triton" / "models" / "etscnet" / "config.pbtxt").read_text()
    assert "TensorRT 10.3.0 for Orin (8.7)" in text and "50 MB, planned by its builder" in text
    assert not config.optimization.execution_accelerators.gpu_execution_accelerator


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "tensorrt-rtx"}, "an engine of tensorrt-rtx"),
        ({"onnx_sha256": "0" * 64}, "an engine of an earlier export"),
        ({"engine_sha256": "0" * 64}, "not the file that was built"),
    ],
)
def test_an_engine_that_its_record_does_not_vouch_for_is_refused(
    copy: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    with_engine(copy, **changes)
    with pytest.raises(InputError, match=said):
        write_repository(copy, tmp_path / "triton", backend="tensorrt")
    assert not (tmp_path / "triton").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "tensorrt"}, "no engine 'etscnet.engine'.*the export has none"),
        ({"backend": "openvino"}, "no backend 'openvino'"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"form": "gpu"}, "no form 'gpu'"),
        ({"backend": "tensorrt", "device": "cpu"}, "--device cpu for TensorRT"),
        ({"backend": "tensorrt", "form": "standard"}, "--form standard for TensorRT"),
        ({"max_batch_size": 4}, "--max_batch_size 4 for a file of one image"),
        ({"instances": 0}, "--instances 0"),
        ({"queue": 0}, "--queue 0"),
        ({"version": 0}, "--version 0"),
        ({"storage_uri": "models"}, "--storage_uri 'models'"),
    ],
)
def test_what_can_not_be_served_is_refused(
    small_exports: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        write_repository(small_exports, tmp_path / "triton", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "triton" / "models").exists()


def test_a_file_that_was_changed_is_refused(copy: Path, tmp_path: Path) -> None:
    with (copy / "etscnet.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match="not the file that was exported"):
        write_repository(copy, tmp_path / "triton")


def test_a_version_is_never_changed_and_a_new_one_stands_beside_it(small_exports: Path, tmp_path: Path) -> None:
    write_repository(small_exports, tmp_path)
    write_repository(small_exports, tmp_path)  # the same again
    with pytest.raises(InputError, match=r"version 1 is there, and is another model.*--version 2"):
        write_repository(small_exports, tmp_path, form="gpu-fp32")
    write_repository(small_exports, tmp_path, form="gpu-fp32", version=2)
    config = read_config(tmp_path / "models")
    assert list(config.version_policy.specific.versions) == [2]
    assert config.model_warmup[0].inputs["image"].input_data_file == "golden-2"
    folder = tmp_path / "models" / "etscnet"
    assert {path.name for path in folder.iterdir()} == {"1", "2", "warmup", "config.pbtxt"}
    assert (folder / "1" / "model.onnx").read_bytes() == (small_exports / "etscnet.onnx").read_bytes()


def test_a_form_with_a_free_batch_is_batched(small_exports: Path, tmp_path: Path) -> None:
    """What `--forms volume --dynamic_batch True` exports, by the record of such a file alone."""
    served = served_model(small_exports, form="volume")
    with pytest.raises(InputError, match="for a file of one image"):
        Scheduling(max_batch_size=4).check(served)
    folder = tmp_path / "exports"
    shutil.copytree(small_exports, folder)
    model = onnx.load(folder / "etscnet.volume.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, folder / "etscnet.volume.onnx")
    manifest = json.loads((folder / "etscnet.json").read_text())
    digest = hashlib.sha256((folder / "etscnet.volume.onnx").read_bytes()).hexdigest()
    manifest["files"]["etscnet.volume.onnx"]["sha256"] = digest
    (folder / "etscnet.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="with no --max_batch_size"):
        write_repository(folder, tmp_path / "triton", form="volume")
    write_repository(folder, tmp_path / "triton", form="volume", max_batch_size=4)
    config = read_config(tmp_path / "triton" / "models")
    assert config.max_batch_size == 4 and list(config.input[0].dims) == manifest["inputs"]["image"]["shape"][1:]
    assert list(config.model_warmup[0].inputs["image"].dims) == list(config.input[0].dims)
    assert "Batches of what waits, up to 4" in (tmp_path / "triton" / "models" / "etscnet" / "config.pbtxt").read_text()


def test_a_field_that_triton_does_not_know_is_an_error() -> None:
    with pytest.raises(text_format.ParseError):
        text_format.Parse('name: "etscnet" max_batch: 0', schema.ModelConfig())
    assert "# why\n" in config_text([("why", schema.ModelConfig(name="etscnet"))])
