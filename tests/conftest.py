"""Small seeded studies on disk, the real MRI beside the checkout, and the bundle's commands in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from export.forms import chosen
from export.machine import cpu_flags
from export.to_onnx import export_onnx
from tests.processes import run_module
from tests.small_bundle import write_small_bundle

settings.register_profile("seeded", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("seeded")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for the tests that import ONNX Runtime themselves
ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundle"
FLOAT32_FORMS = (*chosen(None, cpu_flags(), lean=True), "gpu-batch", "volume")

# The files that take longest: begun first, so that none is left to one process at the end while the other waits. The one that
# makes the exports is among the first two, so that nobody waits for them.
LONGEST = (
    "test_tutorial.py",
    "test_to_onnx.py",
    "test_simulation.py",
    "test_training.py",
    "test_extract.py",
    "test_command.py",
    "test_benchmark.py",
    "test_zoo_check.py",
    "test_bundle.py",
    "test_edge_page.py",
    "test_edge_load.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others in their order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every float32 form of the shipped weights, preprocess.onnx, golden.npz, etscnet.json and parity.json."""
    return _made_once(tmp_path_factory, "exports", lambda folder: export_onnx(BUNDLE, folder, forms=FLOAT32_FORMS))


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network that is exported in seconds, for what doesn't depend on the weights (`tests.small_bundle`)."""
    return _made_once(tmp_path_factory, "small_bundle", write_small_bundle)


@pytest.fixture(scope="session")
def small_exports(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `exports`, of the small bundle."""
    make = partial(export_onnx, small_bundle, forms=FLOAT32_FORMS)
    return _made_once(tmp_path_factory, "small_exports", make)


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one process of a run makes for all of them."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(base / f"{name}.lock"):
        if not (base / name).is_dir():
            make(base / f"{name}.part")
            (base / f"{name}.part").rename(base / name)
    return base / name


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real MRI that lies beside the checkout (or ETSCNET_SHARED)."""
    folder = Path(os.environ.get("ETSCNET_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("the real MRI lies beside the authors' checkouts alone; set ETSCNET_SHARED to a copy")
    return folder


def brain_image(seed: int, *, bright: float = 0.0, shape: tuple[int, int, int] = (48, 56, 20)) -> nib.Nifti1Image:
    """A brain-extracted ellipsoid of about 1000 ml, voxels 3.5 x 3.5 x 7 mm, textured; `bright` adds a large bright lesion."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1.25, 1.25, edge) for edge in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    values = 300 + 60 * rng.standard_normal(shape) + 100 * np.sin(5 * x + rng.uniform(0, 6)) * np.cos(4 * y)
    lesion = np.sqrt((x - rng.uniform(-0.4, 0.4)) ** 2 + (y - rng.uniform(-0.4, 0.4)) ** 2 + z**2) < 0.4
    values = np.where(lesion, values + 500 * bright, values)
    data = np.where(radius < 1, np.clip(values, 20, 3000), 0).astype(np.uint16)
    affine = np.diag([-3.5, -3.5, 7.0, 1.0])
    affine[:3, 3] = [84, 98, -70]
    return nib.Nifti1Image(data, affine)


def write_study(folder: Path, subject: str, *, seed: int, bright: float = 0.0) -> dict[str, str]:
    """FLAIR and T2w of one subject, BIDS-named, on different grids."""
    anat = folder / subject / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    shapes = {"flair": (48, 56, 20), "t2w": (52, 60, 20)}
    paths = {}
    for number, (modality, shape) in enumerate(shapes.items()):
        path = anat / f"{subject}_{'FLAIR' if modality == 'flair' else 'T2w'}.nii.gz"
        nib.save(brain_image(10 * seed + number, bright=bright, shape=shape), path)
        paths[modality] = str(path)
    return paths


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BIDS folder of 20 brain-extracted subjects whose outcome shows: an uncontrolled child has a bright lesion."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = ["participant_id\toutcome"]
    for number in range(20):
        controlled = number % 2 == 0
        subject = f"sub-{number:02d}"
        write_study(folder, subject, seed=number, bright=0.0 if controlled else 1.0)
        rows.append(f"{subject}\t{'controlled' if controlled else 'uncontrolled'}")
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    description = {"Name": "tiny test cohort", "BIDSVersion": "1.10.0", "Synthetic": True}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    return folder


SMALL = {"spatial_size": "[32,32,32]", "epochs": "2", "batch_size": "4", "fractions": "[0.6,0.2,0.2]"}
SMALL["brain_extraction"] = '"none"'  # the synthetic brains below have no skull; in JSON, as the others


@pytest.fixture(scope="session")
def run_bundle() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m monai.bundle run RUN_ID` with configs of the checkout's bundle, in a process of its own; without brain
    extraction unless the options say which."""

    def run(
        run_id: str, *configs: str, check: bool = True, cwd: Path | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        files = [str(BUNDLE / "configs" / name) for name in configs]
        arguments = ["run", run_id, "--config_file", files[0] if len(files) == 1 else str(files)]
        for name, value in {"bundle_root": BUNDLE, "brain_extraction": "none", **options}.items():
            arguments += [f"--{name}", str(value)]
        done = run_module("monai.bundle", arguments, cwd=cwd or ROOT)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}")
        return done

    return run
