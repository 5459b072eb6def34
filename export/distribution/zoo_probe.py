"""One check of an unpacked bundle, in a process that knows nothing of the checkout: `python -P zoo_probe.py CHECK BUNDLE ...`.

It imports MONAI and what the bundle itself brings; the last line that it prints is the check's finding. A check that fails
raises.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from monai.bundle import create_workflow, download, load, push_to_hf_hub

TOLERANCE = {".ts": 1e-6, ".onnx": 1e-4}  # the same kernels; another runtime's sums in another order
WORKFLOWS = {"train": ["train.json"], "evaluate": ["train.json", "evaluate.json"], "inference": ["inference.json"]}


def properties(bundle: Path, dataset_dir: str, brain_extraction: str) -> str:
    """Every workflow has the properties that MONAI defines for its kind.

    Raises:
        AssertionError: one is missing.
    """
    for name, files in WORKFLOWS.items():
        with tempfile.TemporaryDirectory() as output_dir:
            options: dict[str, Any] = {} if name == "inference" else {"fractions": [0.6, 0.2, 0.2]}
            workflow = create_workflow(
                config_file=[str(bundle / "configs" / file) for file in files],
                workflow_type="inference" if name == "inference" else "train",
                logging_file=str(bundle / "configs" / "logging.conf"),
                meta_file=str(bundle / "configs" / "metadata.json"),
                bundle_root=str(bundle),
                dataset_dir=dataset_dir,
                brain_extraction=brain_extraction,
                output_dir=output_dir,
                **options,
            )
            missing = workflow.check_properties()
            if missing != []:
                raise AssertionError(f"{name}: {missing}")
    return f"none is missing in {', '.join(WORKFLOWS)}"


def loaded(bundle: Path, *, workflow_type: str = "inference") -> torch.nn.Module:
    """The network by `monai.bundle.load`. MONAI tells a configuration nothing of the place that it lies in: `args_file` does.

    Raises:
        AssertionError: its code is not the bundle's.
    """
    with tempfile.TemporaryDirectory() as folder:
        args = Path(folder, "args.json")
        args.write_text(json.dumps({"bundle_root": str(bundle)}))
        network: Any = load(
            bundle.name, bundle_dir=bundle.parent, workflow_type=workflow_type, args_file=str(args), device="cpu"
        )
    origin = sys.modules[type(network).__module__].__file__ or ""
    if not Path(origin).resolve().is_relative_to(bundle.resolve()):
        raise AssertionError(f"the network's code comes from {origin}")
    evaluated: torch.nn.Module = network.eval()
    return evaluated


def image(size: tuple[int, int, int]) -> torch.Tensor:
    """Smooth and with a background, closer to a study than noise: (1, 2, x, y, z) in [0, 1]."""
    coarse = torch.rand(1, 2, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size, mode="trilinear")
    return torch.where(fine > 0.35, fine, 0.0)


def load_both(bundle: Path) -> str:
    """`monai.bundle.load` gives a network with the shipped weights, by the configuration of the training and of the inference.

    Raises:
        AssertionError: a tensor differs.
    """
    shipped = torch.load(bundle / "models" / "model.pt", weights_only=True)
    for workflow_type in ("train", "inference"):
        state = loaded(bundle, workflow_type=workflow_type).state_dict()
        differ = [name for name in state if not torch.equal(state[name], shipped[name].to(state[name].dtype))]
        if differ or state.keys() != shipped.keys():
            raise AssertionError(f"{workflow_type}: not the shipped weights: {differ[:3]}")
    return f"{len(shipped)} tensors equal the shipped ones"


def same_score(bundle: Path, exported: str, *size: str) -> str:
    """An exported file gives the score of the network that it was made of.

    Raises:
        AssertionError: it gives another.
    """
    edges = (int(size[0]), int(size[1]), int(size[2]))
    file, x = Path(exported), image(edges)
    with torch.no_grad():
        ours = loaded(bundle)(x)
        if file.suffix == ".ts":
            theirs = torch.jit.load(str(file))(x)
        else:
            import onnxruntime

            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            theirs = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    difference = float((ours - theirs).abs().max())
    if not difference <= TOLERANCE[file.suffix]:
        raise AssertionError(f"the scores differ by {difference:.1e}")
    return f"the score differs by {difference:.1e}"


def download_local(bundle: Path, archive: str) -> str:
    """`monai.bundle.download` takes the archive by a file's address and lays out the same bundle, which then loads.

    Raises:
        AssertionError: other files are laid out.
    """
    with tempfile.TemporaryDirectory() as folder:
        download(name=bundle.name, bundle_dir=folder, url=Path(archive).resolve().as_uri(), progress=False)
        got, wanted = fingerprints(Path(folder, bundle.name)), fingerprints(bundle)
        if got != wanted:
            raise AssertionError(f"other files: {sorted(set(got.items()) ^ set(wanted.items()))[:3]}")
        loaded(Path(folder, bundle.name))
    return f"{len(got)} files, equal ones"


def hub(bundle: Path, record: str) -> str:
    """`push_to_hf_hub` up to the network: its calls and the files that it would send go into a record.

    Raises:
        AssertionError: the card names no licence, or the weights are not among them.
    """
    import huggingface_hub

    calls: list[dict[str, Any]] = []

    class Recorder:
        """In the place of the client: keeps what it is asked for."""

        def __init__(self, token: str | None = None) -> None:
            del token

        def create_repo(self, **said: object) -> None:
            calls.append({"call": "create_repo", **said})

        def upload_folder(self, *, folder_path: str, **said: object) -> str:
            calls.append({"call": "upload_folder", **said, "files": fingerprints(Path(folder_path))})
            return "staged"

        def create_tag(self, **said: object) -> None:
            calls.append({"call": "create_tag", **said})

    huggingface_hub.HfApi = Recorder  # type: ignore[assignment,misc]
    version = json.loads((bundle / "configs" / "metadata.json").read_text())["version"]
    push_to_hf_hub(repo=f"OWNER/{bundle.name}", name=bundle.name, bundle_dir=str(bundle.parent), version=version)
    Path(record).write_text(json.dumps(calls, indent=2) + "\n")
    sent = next(call["files"] for call in calls if call["call"] == "upload_folder")
    card = (bundle / "README.md").read_text()
    if "license: apache-2.0" not in card.split("---")[1] or "models/model.pt" not in sent:
        raise AssertionError("the card says no licence, or the weights are not among what is sent")
    return f"{len(sent)} files staged, nothing sent"


def fingerprints(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


CHECKS = {
    "properties": properties,
    "load": load_both,
    "same-score": same_score,
    "download": download_local,
    "hub": hub,
}

if __name__ == "__main__":
    print(CHECKS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:]))  # type: ignore[operator]
