"""Manifests for KServe (serving.kserve.io/v1beta1): the repository on its Triton runtime, or the edge server's container.

Both speak the Open Inference Protocol v2 on port 8080 with the model `etscnet`. Nothing here is a secret: the edge server's
token comes from a Kubernetes secret.
Source: kserve.github.io (InferenceService v1beta1), github.com/kserve/kserve: config/crd,
config/runtimes/kserve-tritonserver.yaml, pkg/apis/serving/v1beta1/predictor_custom.go (PROTOCOL, STORAGE_URI of a container).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from export.manifest import read_manifest
from export.triton import NAME
from export.triton.config import Scheduling
from export.triton.served import ServedModel
from scripts.errors import InputError
from scripts.files import write_atomically

TRITON = "24.10-py3"  # the release whose server the tests have read a repository with
SERVER_MIB = 1024  # for a server without a model: its own process, ONNX Runtime's libraries, a pinned pool of 256 MB
PORT = 8080
EDGE_MIB = 2560  # the edge server's --memory_mb of 2000, and room for the interpreter's own
USER = 10001  # of edge/deploy/Dockerfile.cpu
LOAD_S = 600  # a model may take to load: an engine is built, an image pulled
HEADER = "# Written by `python -m export {verb}`. {use}\n"
Service = dict[str, Any]


def triton_service(served: ServedModel, scheduling: Scheduling, *, storage_uri: str) -> Service:
    """The repository on KServe's runtime kserve-tritonserver.

    Args:
        served: what is served.
        scheduling: how: memory and processors are asked for by it.
        storage_uri: of the folder `models`.
    """
    images = scheduling.instances * max(1, scheduling.max_batch_size)
    mebibytes = SERVER_MIB + math.ceil(images * (served.memory_mb or 0) * 1e6 / 2**20)
    cpus = scheduling.instances * (scheduling.threads or 2) if served.device == "cpu" else 2
    model = {
        "modelFormat": {"name": "triton"},
        "protocolVersion": "v2",
        "runtimeVersion": TRITON,
        "storageUri": check_uri(storage_uri),
        "args": ["--disable-auto-complete-config", "--exit-on-error=true"],  # what is served is what is written
        "resources": _resources(mebibytes, cpus, gpus=int(served.device == "gpu")),
        **_probes(),
    }
    return _service(served.manifest, {"model": model})


def edge_service(manifest: Mapping[str, Any], *, image: str, storage_uri: str, secret: str) -> Service:
    """The edge server's own container (edge/deploy/Dockerfile.cpu): studies, page and metrics beside the protocol.

    Args:
        manifest: of the export.
        image: of the container, with its registry and tag.
        storage_uri: of the export's folder.
        secret: the Kubernetes secret whose key `token` the server asks for.
    """
    where = ["serve", "--exports", "/mnt/models", "--host", "0.0.0.0", "--port", str(PORT)]
    container = {
        "name": "kserve-container",
        "image": image,
        "args": [*where, "--token_file", "/run/secrets/etscnet/token"],
        "env": [{"name": "PROTOCOL", "value": "v2"}, {"name": "STORAGE_URI", "value": check_uri(storage_uri)}],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(EDGE_MIB, 2, gpus=0),
        **_probes(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "token", "mountPath": "/run/secrets/etscnet", "readOnly": True},
            {"name": "temporary", "mountPath": "/tmp"},
        ],
    }
    volumes = [
        {"name": "token", "secret": {"secretName": secret, "items": [{"key": "token", "path": "token"}]}},
        {"name": "temporary", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]
    return _service(manifest, {"containers": [container], "volumes": volumes})


def write_edge_service(
    exports: str | Path = "exports",
    output: str | Path = "kserve-edge.yaml",
    *,
    image: str = "etscnet-edge:cpu",
    storage_uri: str = "pvc://etscnet/exports",
    secret: str = "etscnet-token",
) -> str:
    """Write KServe's InferenceService of the edge server's container.

    Args:
        exports: folder of etscnet.json.
        output: the YAML file.
        image: of the container.
        storage_uri: where KServe will find the export's folder.
        secret: the Kubernetes secret with the key `token`.

    Example:
        python -m export kserve-edge --exports exports --image registry.example.org/etscnet-edge:cpu \\
            --storage_uri pvc://etscnet/exports

    Returns:
        What was written.

    Raises:
        InputError: files that are not the manifest's, or no URI.
    """
    manifest = read_manifest(exports)
    write_service(
        output, edge_service(manifest, image=image, storage_uri=storage_uri, secret=secret), verb="kserve-edge"
    )
    return f"{output}: {image} with {storage_uri}, its token from the secret {secret}"


def write_service(file: str | Path, service: Service, *, verb: str = "triton") -> None:
    """As YAML, whole."""
    use = service["metadata"]["annotations"][f"{NAME}/intended-use"]
    text = yaml.safe_dump(service, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(file, HEADER.format(verb=verb, use=use) + text)


def _service(manifest: Mapping[str, Any], predictor: dict[str, Any]) -> Service:
    """One replica at least: a study does not wait for a model to load."""
    annotations = {
        f"{NAME}/intended-use": manifest["intended_use"],
        f"{NAME}/model-version": manifest["version"],
        f"{NAME}/weights-sha256": manifest["origin"]["sha256"],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "annotations": annotations},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 1, **predictor}},
    }


def _resources(mebibytes: int, cpus: int, *, gpus: int) -> dict[str, Any]:
    """Requests are limits: a study that is killed for memory half-way is worse than one that waits for a place."""
    what = {"cpu": str(cpus), "memory": f"{mebibytes}Mi", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {"requests": dict(what), "limits": dict(what)}


def _probes() -> dict[str, Any]:
    ready, live = ({"path": f"/v2/health/{kind}", "port": PORT} for kind in ("ready", "live"))
    return {
        "startupProbe": {"httpGet": ready, "periodSeconds": 5, "failureThreshold": LOAD_S // 5},
        "readinessProbe": {"httpGet": dict(ready), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {"httpGet": live, "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 3},
    }


def check_uri(uri: str) -> str:
    """The URI.

    Raises:
        InputError: it has no scheme or nothing behind it.
    """
    scheme, found, rest = uri.partition("://")
    if not (scheme and found and rest):
        expected = "a URI that KServe reads, such as pvc://CLAIM/FOLDER or s3://BUCKET/FOLDER"
        raise InputError(f"--storage_uri {uri!r}", expected=expected, remedy="Correct --storage_uri.")
    return uri
