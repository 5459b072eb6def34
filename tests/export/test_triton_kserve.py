"""InferenceService manifests: read as YAML, what KServe's controller looks for is there.

Against KServe's own schema where $KSERVE_CRD names config/crd/full/serving.kserve.io_inferenceservices.yaml of its repository.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from etscnet_edge.verbs import VERBS

from export.manifest import read_manifest
from export.triton.config import Scheduling
from export.triton.kserve import SERVER_MIB, edge_service, triton_service, write_edge_service, write_service
from export.triton.served import served_model
from scripts.errors import InputError

TRITON, EDGE = "triton", "edge"


@pytest.fixture(scope="module")
def services(small_exports: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kserve")
    served = replace(served_model(small_exports), memory_mb=500)
    write_service(folder / TRITON, triton_service(served, Scheduling(instances=2), storage_uri="s3://models/etscnet"))
    write_edge_service(
        small_exports, folder / EDGE, image="registry/etscnet-edge:1", storage_uri="pvc://etscnet/exports"
    )
    return {name: yaml.safe_load((folder / name).read_text()) for name in (TRITON, EDGE)}


@pytest.mark.parametrize("name", [TRITON, EDGE])
def test_it_is_a_service_of_the_model_and_says_what_it_is_for(
    services: dict[str, Any], small_exports: Path, name: str
) -> None:
    service, manifest = services[name], read_manifest(small_exports)
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["metadata"]["name"] == "etscnet"
    annotations = service["metadata"]["annotations"]
    assert annotations["etscnet/intended-use"] == "Research only, not for diagnosis."
    assert annotations["etscnet/model-version"] == manifest["version"]
    assert all(isinstance(value, str) for value in annotations.values())  # Kubernetes takes no other


@pytest.mark.parametrize("name", [TRITON, EDGE])
def test_requests_come_when_the_model_is_ready_and_it_keeps_what_it_was_given(
    services: dict[str, Any], name: str
) -> None:
    predictor = services[name]["spec"]["predictor"]
    container = predictor["model"] if name == TRITON else predictor["containers"][0]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert predictor["minReplicas"] == 1 and "nvidia.com/gpu" not in container["resources"]["limits"]


def test_tritons_runtime_speaks_the_protocol_and_reads_the_repository(services: dict[str, Any]) -> None:
    model = services[TRITON]["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "triton"} and model["protocolVersion"] == "v2"
    assert model["storageUri"] == "s3://models/etscnet"
    # Two instances of 500 MB, in MiB and rounded up.
    assert model["resources"]["limits"]["memory"] == f"{SERVER_MIB + 954}Mi"


def test_a_gpu_is_asked_for_where_one_is_needed(small_exports: Path) -> None:
    service = triton_service(served_model(small_exports, device="gpu"), Scheduling(), storage_uri="s3://models/etscnet")
    assert service["spec"]["predictor"]["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_edge_servers_container_gets_its_token_from_a_secret(services: dict[str, Any]) -> None:
    predictor = services[EDGE]["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container" and container["image"] == "registry/etscnet-edge:1"
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment == {"PROTOCOL": "v2", "STORAGE_URI": "pvc://etscnet/exports"}
    token = container["args"][container["args"].index("--token_file") + 1]
    (mount,) = [mount for mount in container["volumeMounts"] if token.startswith(mount["mountPath"] + "/")]
    (volume,) = [volume for volume in predictor["volumes"] if volume["name"] == mount["name"]]
    assert volume["secret"]["secretName"] == "etscnet-token"
    security = container["securityContext"]
    assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"] and security["runAsUser"] == 10001


def test_the_containers_arguments_are_the_edge_servers(services: dict[str, Any]) -> None:
    """Every option of it is one that `etscnet-edge serve` has."""
    container = services[EDGE]["spec"]["predictor"]["containers"][0]
    assert container["args"][0] == "serve"
    options = [word.removeprefix("--") for word in container["args"] if word.startswith("--")]
    assert set(options) <= set(VERBS["serve"].names) and len(options) == 4
    port = container["ports"][0]["containerPort"]
    assert container["args"][container["args"].index("--port") + 1] == str(port)


def test_a_uri_without_a_scheme_is_refused(small_exports: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--storage_uri 'exports'"):
        write_edge_service(small_exports, tmp_path / "kserve.yaml", storage_uri="exports")
    assert not (tmp_path / "kserve.yaml").exists()


@pytest.mark.parametrize("name", [TRITON, EDGE])
def test_kserves_own_schema_takes_it(services: dict[str, Any], name: str) -> None:
    file = os.environ.get("KSERVE_CRD")
    if not file:
        pytest.skip("KServe's schema (2 MB) is not here: set KSERVE_CRD")
    versions = yaml.safe_load(Path(file).read_text())["spec"]["versions"]
    crd = next(version for version in versions if version["name"] == "v1beta1")["schema"]["openAPIV3Schema"]
    strict(crd)
    validator = jsonschema.Draft7Validator(crd)
    assert [error.message for error in validator.iter_errors(services[name])] == []
    services[name]["spec"]["predictor"]["replicas"] = 1
    assert not validator.is_valid(services[name])
    del services[name]["spec"]["predictor"]["replicas"]


def strict(schema: Any) -> None:
    """No field that the schema does not name; Kubernetes would drop it in silence."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)


def test_edge_service_does_not_need_triton(small_exports: Path) -> None:
    manifest = read_manifest(small_exports)
    service = edge_service(manifest, image="i", storage_uri="s3://b/e", secret="s")
    assert "model" not in service["spec"]["predictor"]
