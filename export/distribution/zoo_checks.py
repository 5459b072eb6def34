"""What the Model Zoo's CI checks of a bundle, and what its users do with one: each a function of a `Place`, that says what it
found.

Directory, versions, metadata, properties, shapes and TorchScript as in the Zoo's `ci/verify_bundle.py`, by the same functions
of MONAI; the code style as in `runtests.sh`; the unit tests as its runner calls them; ONNX, training, evaluation, inference,
load, download and push_to_hf_hub beyond that.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from export.distribution.layout import MAX_FILE_BYTES
from export.distribution.unpack import read_archive
from export.distribution.zoo_place import CheckFailed, Place
from export.distribution.zoo_style import COMMANDS, PLUGINS
from scripts.files import sha256

Check = Callable[[Place], str]
NEEDED = (
    "LICENSE",
    "configs/metadata.json",
    "models/model.pt",
    "configs/inference.json",
)  # necessary and preferred files
SMALL = (64, 64, 32)  # to compare exports at; the full size takes minutes and shows nothing more
TRAINING = {"spatial_size": "[32,32,32]", "epochs": 1, "batch_size": 2, "fractions": "[0.6,0.2,0.2]"}
NETWORK = "network_def"


def directory(place: Place) -> str:
    """Necessary and preferred files are there, none is too large, and the folder holds what the archive does.

    Raises:
        CheckFailed: one of these does not hold.
    """
    files = {path.relative_to(place.bundle).as_posix(): path for path in place.bundle.rglob("*") if path.is_file()}
    missing = [name for name in NEEDED if name not in files]
    large = [name for name, path in files.items() if path.stat().st_size > MAX_FILE_BYTES]
    archived = read_archive(place.archive, expected_sha256=sha256(place.archive))
    other = {f"{place.bundle.name}/{name}" for name in files} ^ archived.keys()
    if missing or large or other:
        raise CheckFailed(
            f"missing {missing}, over {MAX_FILE_BYTES / 1e6:g} MB {large}, not as archived {sorted(other)}"
        )
    largest = max(path.stat().st_size for path in files.values())
    return f"{len(files)} files, the largest {largest / 1e6:.1f} MB"


def versions(place: Place) -> str:
    """The version stands in the changelog.

    Raises:
        CheckFailed: it does not.
    """
    said = json.loads((place.bundle / "configs" / "metadata.json").read_text())
    if said["version"] not in said["changelog"]:
        raise CheckFailed(f"version {said['version']} is missing in the changelog")
    return str(said["version"])


def metadata(schema: Path | None) -> Check:
    """The metadata meet their schema: the given file, or the one that MONAI downloads."""

    def check(place: Place) -> str:
        file = place.root / "schema.json"
        if schema is not None:
            shutil.copyfile(schema, file)
        place.monai("verify_metadata", "--meta_file", place.config("metadata.json"), "--filepath", file)
        return f"meet {file.name if schema is None else schema.name}"

    return check


def properties(place: Place) -> str:
    """Of training, evaluation and inference."""
    return place.probe("properties", place.dataset_dir, place.brain_extraction)


def shapes(place: Place) -> str:
    """`verify_net_in_out`: the network takes and gives what the metadata declare."""
    place.monai("verify_net_in_out", NETWORK, *_files(place))
    return "as the metadata declare"


def torchscript(place: Place) -> str:
    """`ckpt_export`, and the same score."""
    target = place.root / "out" / "model.ts"
    weights = ("--ckpt_file", place.bundle / "models" / "model.pt")
    place.monai("ckpt_export", NETWORK, "--filepath", target, *weights, *_files(place))
    return place.probe("same-score", target, *SMALL)


def onnx(place: Place) -> str:
    """`onnx_export`, and the same score in ONNX Runtime."""
    target = place.root / "out" / "model.onnx"
    weights = ("--ckpt_file", place.bundle / "models" / "model.pt", "--input_shape", str([1, 2, *SMALL]))
    place.monai("onnx_export", NETWORK, "--filepath", target, *weights, *_files(place))
    return place.probe("same-score", target, *SMALL)


def training(place: Place) -> str:
    """One epoch on the small cohort writes weights.

    Raises:
        CheckFailed: it does not, or the run fails.
    """
    target = place.root / "out" / "train"
    _run(place, "training", "train.json", output_dir=target, **TRAINING)
    if not (target / "model.pt").is_file() or not (target / "model.json").is_file():
        raise CheckFailed("no model.pt or no model.json")
    return f"{_rows(target / 'training.csv')} epoch, weights and their origin"


def evaluating(place: Place) -> str:
    """The testing part, with the weights of the training before."""
    trained, target = place.root / "out" / "train", place.root / "out" / "evaluate"
    options = {"fractions": TRAINING["fractions"], "datalist": trained / "datalist.json"}
    _run(
        place,
        "evaluating",
        "train.json",
        "evaluate.json",
        output_dir=target,
        checkpoint=trained / "model.pt",
        **options,
    )
    json.loads((target / "metrics.json").read_text())
    return f"{_rows(target / 'predictions.csv')} cases scored"


def inference(place: Place) -> str:
    """Every case of the small cohort gets a score from the shipped weights.

    Raises:
        CheckFailed: one does not, or a score is not between 0 and 1.
    """
    target = place.root / "out" / "inference"
    _run(place, "inference", "inference.json", output_dir=target, pictures=False)
    with (target / "predictions.csv").open() as file:
        scores = [float(row["score"]) for row in csv.DictReader(file)]
    cases = sum(1 for path in place.dataset_dir.glob("sub-*") if path.is_dir())
    if len(scores) != cases or not all(0 < score < 1 for score in scores):
        raise CheckFailed(f"{len(scores)} scores of {cases} cases: {scores}")
    return f"{cases} cases scored, {min(scores):.3f} to {max(scores):.3f}"


def load(place: Place) -> str:
    """`monai.bundle.load`."""
    return place.probe("load")


def download(place: Place) -> str:
    """`monai.bundle.download` from the archive."""
    return place.probe("download", place.archive)


def hugging_face(place: Place) -> str:
    """`push_to_hf_hub`, staged: on a copy, for it writes a README into the bundle."""
    copy = place.root / "hub" / place.bundle.name
    shutil.copytree(place.bundle, copy)
    staged = Place(place.root, copy, place.dataset_dir, place.brain_extraction, place.archive)
    return staged.probe("hub", place.root / "hub" / "calls.json")


def style(tool: str) -> Check:
    """isort, black or flake8 over the bundle and its unit tests, at the Zoo's settings."""

    def check(place: Place) -> str:
        if tool == "flake8":
            for plugin in PLUGINS:
                try:
                    version(plugin)
                except PackageNotFoundError as missing:
                    raise CheckFailed(f"{plugin} is not installed; `make setup` brings it") from missing
        place.python("-m", *COMMANDS[tool], cwd=place.root)
        return "nothing to change"

    return check


def unit_tests(suffix: str) -> Check:
    """The unit tests in the Zoo's form, from the Zoo's root as there."""

    def check(place: Place) -> str:
        name = f"test_{place.bundle.name}{suffix}.py"
        place.python(Path("ci", "unit_tests", name), cwd=place.root)
        return f"{name} passes"

    return check


def _files(place: Place) -> tuple[object, ...]:
    configs = ("--config_file", place.config("inference.json"), "--meta_file", place.config("metadata.json"))
    return (*configs, "--bundle_root", place.bundle)


def _run(place: Place, run_id: str, *configs: str, **options: object) -> None:
    given = {
        "bundle_root": place.bundle,
        "dataset_dir": place.dataset_dir,
        "brain_extraction": place.brain_extraction,
        **options,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    place.monai("run", run_id, "--config_file", place.config(*configs), *words)


def _rows(file: Path) -> int:
    return len(file.read_text().splitlines()) - 1


def all_checks(schema: Path | None) -> dict[str, Check]:
    """Every check by its name, in the order in which they run."""
    return {
        "directory": directory,
        "version and changelog": versions,
        "metadata": metadata(schema),
        **{tool: style(tool) for tool in COMMANDS},
        "properties": properties,
        "verify_net_in_out": shapes,
        "load": load,
        "download": download,
        "push_to_hf_hub": hugging_face,
        "TorchScript": torchscript,
        "ONNX": onnx,
        "training": training,
        "evaluating": evaluating,
        "inference": inference,
        "unit tests": unit_tests(""),
        "unit tests, distributed": unit_tests("_dist"),
    }
