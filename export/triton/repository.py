"""`python -m export triton`: a model repository for Triton, and the manifest that has KServe serve it.

    OUTPUT/models/etscnet/config.pbtxt     written last: until then Triton sees the earlier one, or none
    OUTPUT/models/etscnet/1/model.onnx     the export's file, its hash checked before and after the copy; never changed again
    OUTPUT/models/etscnet/warmup/golden-1  the golden image's raw bytes
    OUTPUT/kserve.yaml                     an InferenceService on KServe's Triton runtime

The model has the name, the tensors and the parameters of the edge server's: a client of the one is a client of the other.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from export.triton import NAME
from export.triton.config import Scheduling, config_text, model_parts
from export.triton.golden import golden_case
from export.triton.kserve import check_uri, triton_service, write_service
from export.triton.memory import instance_mb
from export.triton.served import ENGINE, Backend, Device, ServedModel, served_model
from scripts.errors import InputError
from scripts.files import sha256, write_atomically

STORAGE = "pvc://etscnet/triton/models"


def write_repository(
    exports: str | Path = "exports",
    output_dir: str | Path = "triton",
    *,
    backend: Backend = "onnx",
    device: Device | None = None,
    form: str | None = None,
    engine: str = ENGINE,
    version: int = 1,
    instances: int = 1,
    threads: int = 0,
    max_batch_size: int = 0,
    queue: int = 4,
    storage_uri: str = STORAGE,
) -> str:
    """Write an export as a model repository for Triton, with its manifest for KServe.

    Args:
        exports: folder of etscnet.json.
        output_dir: folder of `models` and kserve.yaml.
        backend: onnx (ONNX Runtime), or tensorrt with an engine that was built before.
        device: cpu or gpu; None: the CPU for onnx, the GPU for tensorrt.
        form: of the manifest's, for onnx; None: standard on a CPU, gpu-fp32 on a GPU.
        engine: an engine's file name, for tensorrt.
        version: of the model, a whole number from 1 on; a version that was once written is never changed.
        instances: copies of the network that run at a time.
        threads: of ONNX Runtime, an instance; 0: one a core.
        max_batch_size: images of one run, for a form with a free batch; 0: one.
        queue: requests that may wait.
        storage_uri: where KServe will find the folder `models`.

    Example:
        python -m export triton --exports exports --output_dir triton

    Returns:
        What was written.

    Raises:
        InputError: see served_model and Scheduling.check; a version that is there and another file.
    """
    served = served_model(exports, backend=backend, device=device, form=form, engine=engine)
    if not isinstance(version, int) or version < 1:
        raise InputError(f"--version {version}", expected="1 or more", remedy="Triton's versions are whole numbers.")
    scheduling = Scheduling(instances, threads, max_batch_size, queue)
    scheduling.check(served)
    check_uri(storage_uri)
    if not served.engine:
        served = replace(served, memory_mb=instance_mb(served.file))
    warmup = f"golden-{version}"
    text = config_text(model_parts(served, scheduling, version=version, warmup_file=warmup))
    image = golden_case(exports, served.manifest).image
    model = Path(output_dir) / "models" / NAME
    stored = _put_version(served, model / str(version))
    write_atomically(model / "warmup" / warmup, image.astype("<f4").tobytes())
    write_atomically(model / "config.pbtxt", text)
    service = triton_service(served, scheduling, storage_uri=storage_uri)
    write_service(Path(output_dir) / "kserve.yaml", service)
    rows = [
        f"| {stored} | {served.form}, {served.precision}, {served.backend} on the {served.device.upper()} |",
        f"| {model / 'config.pbtxt'} | name {NAME}, version {version}, {instances} x {served.memory_mb or '?'} MB |",
        f"| {model / 'warmup' / warmup} | {image.nbytes} bytes, {list(image.shape)} |",
        f"| {Path(output_dir) / 'kserve.yaml'} | {storage_uri} |",
    ]
    return "\n".join(["| file | what it is |", "|---|---|", *rows])


def _put_version(served: ServedModel, folder: Path) -> Path:
    """The file in its version's folder, which appears whole."""
    stored = folder / served.stored_as
    if folder.exists():
        if not stored.is_file() or sha256(stored) != served.sha256:
            raise InputError(
                f"version {folder.name} is there, and is another model",
                expected=f"{served.stored_as} with SHA-256 {served.sha256}",
                remedy=f"Give the next one: --version {int(folder.name) + 1}.",
                file=folder,
            )
        return stored
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".version-") as staging:
        whole = Path(staging) / folder.name
        whole.mkdir()
        shutil.copyfile(served.file, whole / served.stored_as)
        if (found := sha256(whole / served.stored_as)) != served.sha256:
            raise InputError(
                f"the copy has SHA-256 {found}", expected=served.sha256, remedy="Look at the disk.", file=served.file
            )
        whole.rename(folder)
    return stored
