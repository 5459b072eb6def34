"""The golden case decides whether a network may be used; numpy's preprocessing follows the manifest or refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.golden import accept
from etscnet_edge.manifest import read_manifest
from etscnet_edge.preprocess import NumpyPreprocessing, resized, scaled


@pytest.mark.parametrize("form", ["standard", "gpu-fp32"])
@pytest.mark.parametrize("preprocessing", ["numpy", "graph"])
def test_the_exported_network_is_accepted(exports: Path, form: str, preprocessing: str) -> None:
    with Classifier(exports, form=form, preprocessing=preprocessing) as classifier:
        assert classifier.accept() < 1e-5


@pytest.mark.parametrize(("output", "change"), [("pred", 2e-5), ("branch_scores", -2e-5), ("pred", float("nan"))])
def test_another_score_is_not(exports: Path, output: str, change: float) -> None:
    manifest = read_manifest(exports)
    with np.load(exports / "golden.npz") as golden:
        right = {name: golden[name] for name in ("pred", "branch_scores")}
    assert accept(manifest, lambda image: right, precision="float32") == 0
    wrong = {**right, output: right[output] + np.float32(change)}
    with pytest.raises(InputError, match=f"of the golden study {output} differs"):
        accept(manifest, lambda image: wrong, precision="float32")


def test_another_image_is_not(exports: Path) -> None:
    class Blurred(NumpyPreprocessing):
        def __call__(self, volume, mask):  # type: ignore[no-untyped-def]
            return 0.99 * super().__call__(volume, mask)

    manifest = read_manifest(exports)
    with np.load(exports / "golden.npz") as golden:
        right = {name: golden[name] for name in ("pred", "branch_scores")}
    with pytest.raises(InputError, match="of the golden study coarse differs"):
        accept(manifest, lambda image: right, precision="float32", preprocessing=Blurred(manifest))


@pytest.mark.parametrize("key", ["threshold", "mode", "maxv"])
def test_numpy_refuses_a_preprocessing_that_it_does_not_know(exports: Path, tmp_path: Path, key: str) -> None:
    shutil.copytree(exports, tmp_path / "exports")
    path = tmp_path / "exports" / "etscnet.json"
    said = json.loads(path.read_text())
    step = next(step for step in said["preprocessing"]["inside"] if key in step)
    step[key] = "area" if key == "mode" else 0.5
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match="--preprocessing graph"):
        Classifier(tmp_path / "exports")


def test_a_resize_is_the_same_from_either_end_and_in_any_order_of_memory() -> None:
    values = np.random.default_rng(0).random((7, 9, 5), dtype=np.float32)
    size = (4, 12, 5)
    expected = resized(values, size)
    assert np.allclose(resized(values[::-1, :, ::-1], size)[::-1, :, ::-1], expected, atol=1e-6)
    assert np.allclose(resized(np.asfortranarray(values), size), expected, atol=1e-6)
    assert np.array_equal(resized(values, values.shape), values)


def test_a_constant_image_becomes_0() -> None:
    assert not scaled(np.full((2, 2, 2), 7.0, np.float32)).any()
    rounded = np.full((2, 2, 2), 1000.0, np.float32)
    rounded[0, 0, 0] = np.nextafter(np.float32(1000), np.float32(0))
    assert not scaled(rounded).any()
    assert scaled(np.array([[[3.0, 5.0]]], np.float32)).tolist() == [[[0.0, 1.0]]]
