"""The verbs `explain` and `localize` from end to end, on small studies and weights that nobody trained."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from scripts.answer import Answer
from scripts.checkpoint import save
from scripts.command_line.commands import read_command
from scripts.errors import InputError
from scripts.explanation.explain import explain
from scripts.explanation.gradcam import randomised
from scripts.network import ETSCNet
from tests.conftest import BUNDLE, brain_image

VERBS = {"explain": "scripts.explanation.explain:explain", "localize": "scripts.explanation.localization:localize"}
SUFFIXES = {"flair": "FLAIR", "t2w": "T2w"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that are alive: batch normalisation fits the images."""
    torch.manual_seed(0)
    network = randomised(ETSCNet(["flair", "t2w"]), [torch.rand(1, 2, 32, 32, 32) for _ in range(4)], seed=0)
    network.spatial_size.copy_(torch.tensor([32, 32, 32]))
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three children with lesion labels; the third has no tuber."""
    root = tmp_path_factory.mktemp("children")
    (root / "derivatives" / "truth").mkdir(parents=True)
    (root / "derivatives" / "truth" / "desc-lesions_dseg.tsv").write_text("index\tname\n1\ttuber\n4\tother\n")
    for number in (1, 2, 3):
        for modality, suffix in SUFFIXES.items():
            name = f"sub-{number:02d}"
            image = brain_image(number, bright=1.0, shape=(48, 56, 20) if modality == "flair" else (52, 60, 20))
            labels = np.zeros(image.shape, np.uint8)
            labels[20 + number : 26 + number, 24:30, 8:11] = 4 if number == 3 else 1
            for folder, content, end in (
                (root, np.asarray(image.dataobj), suffix),
                (root / "derivatives" / "truth", labels, f"space-{suffix}_desc-lesions_dseg"),
            ):
                path = folder / name / "anat" / f"{name}_{end}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(content, image.affine), path)
    return root


def call(verb: str, **options: object) -> Answer:
    if verb == "explain":
        options = {"brain_extraction": "none", **options}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    said = read_command("scripts", VERBS, [verb, *words])[0]()
    assert isinstance(said, Answer)
    return said


@pytest.fixture(scope="module")
def explained(children: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained") / "maps"
    call("explain", dataset_dir=children, checkpoint=weights, device="cpu", output_dir=folder)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_branch_of_every_study_has_a_map_on_its_own_grid(explained: Path, children: Path) -> None:
    listed = rows(explained / "maps.csv")
    assert len(listed) == 6 and rows(explained / "failures.csv") == []
    for row in listed:
        path = explained / row["map"]
        source = nib.Nifti1Image.from_filename(
            children / row["case"] / "anat" / f"{row['case']}_{SUFFIXES[row['modality']]}.nii.gz"
        )
        written = nib.Nifti1Image.from_filename(path)
        assert written.shape == source.shape and np.array_equal(written.affine, source.affine)
        values = written.get_fdata()
        assert values.min() == 0 and values[np.asarray(source.dataobj) == 0].max() == 0
        assert values.max() == pytest.approx(1 if float(row["largest"]) > 0 else 0)
    assert any(float(row["largest"]) > 0 for row in listed)


def test_the_scores_are_those_of_inference(explained: Path, children: Path, weights: Path) -> None:
    config = ConfigParser()
    config.read_config(str(BUNDLE / "configs" / "inference.json"))
    config.read_meta(str(BUNDLE / "configs" / "metadata.json"))
    config["brain_extraction"] = "none"
    for name, value in {"bundle_root": BUNDLE, "device": "cpu", "checkpoint": weights, "dataset_dir": children}.items():
        config[name] = str(value)
    network, transform = config.get_parsed_content("network"), config.get_parsed_content("preprocessing")
    for case in config.get_parsed_content("cases"):
        with torch.no_grad():
            expected = float(network(transform(dict(case))["image"].as_tensor()[None]))
        found = {float(row["score"]) for row in rows(explained / "maps.csv") if row["case"] == case["case"]}
        assert list(found) == [pytest.approx(expected, abs=1e-6)]


def test_the_sidecar_says_what_the_map_is(explained: Path) -> None:
    said = json.loads((explained / "sub-01" / "anat" / "sub-01_space-FLAIR_desc-gradcam_map.json").read_text())
    (row,) = (r for r in rows(explained / "maps.csv") if r["case"] == "sub-01" and r["modality"] == "flair")
    assert said["Outcome"] == row["outcome"] == ("controlled" if said["Score"] >= said["Threshold"] else "uncontrolled")
    assert said["ExplainedScore"].startswith("-logit" if said["Outcome"] == "uncontrolled" else "logit")
    assert said["Layer"] == "_blocks.1" and said["FeatureGrid"] == [8, 8, 8] and said["NetworkGrid"] == [32, 32, 32]
    # 48 x 56 x 20 voxels of 3.5 x 3.5 x 7 mm in 8 cells an axis.
    assert said["ResolutionMillimeters"] == pytest.approx([48 * 3.5 / 8, 56 * 3.5 / 8, 20 * 7 / 8])
    assert said["Sources"] == ["bids:raw:sub-01/anat/sub-01_FLAIR.nii.gz"] and len(said["ModelSHA256"]) == 64
    assert said["Weights"] == "trained"
    assert said["Warnings"][0] == "Research only, not for diagnosis." and "origin" in said["Warnings"][1]
    description = json.loads((explained / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"


def test_each_case_has_a_page(explained: Path) -> None:
    for case in ("sub-01", "sub-02", "sub-03"):
        page = (explained / case / "figures" / f"{case}_desc-gradcam_map.png").read_bytes()
        assert page[:4] == b"\x89PNG" and len(page) > 50_000


def test_a_bad_study_does_not_lose_the_others(children: Path, weights: Path, tmp_path: Path) -> None:
    good = {name: str(children / "sub-01" / "anat" / f"sub-01_{suffix}.nii.gz") for name, suffix in SUFFIXES.items()}
    (tmp_path / "list.json").write_text(
        json.dumps([{"case": "bad", **good, "t2w": "/no/such.nii.gz"}, {"case": "good", **good}])
    )
    said = call(
        "explain",
        datalist=tmp_path / "list.json",
        checkpoint=weights,
        device="cpu",
        output_dir=tmp_path / "out",
        pictures=False,
    )
    assert said.failed and re.search(r"(?s)1 of 2 studies failed.*there is no t2w file", said.text)
    assert {row["case"] for row in rows(tmp_path / "out" / "maps.csv")} == {"good"}
    (failure,) = rows(tmp_path / "out" / "failures.csv")
    assert failure["case"] == "bad" and "/no/such.nii.gz" in failure["reason"]
    assert len(list((tmp_path / "out" / "sub-good" / "anat").glob("*.nii.gz"))) == 2
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "_blocks.77"}, r"_blocks\.1 \(8 x 8 x 8\)"),
        ({"bundle_root": "/no/bundle"}, "--bundle_root"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, Any], said: str, children: Path, weights: Path, tmp_path: Path
) -> None:
    anat = children / "sub-01" / "anat"
    pair = {"flair": anat / "sub-01_FLAIR.nii.gz", "t2w": anat / "sub-01_T2w.nii.gz"}
    with pytest.raises(InputError, match=said):
        call("explain", checkpoint=weights, device="cpu", output_dir=tmp_path, **pair, **options)


@pytest.mark.parametrize(
    "option", [{"outcome": "both"}, {"method": "cam"}, {"brain_extraction": "fsl"}, {"outcmoe": "decided"}]
)
def test_what_is_typed_wrong_is_refused_before_anything_begins(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        call("explain", output_dir=tmp_path, **option)


def test_the_scalars_of_inference_are_options_here_too_and_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((BUNDLE / "configs" / "inference.json").read_text())
    # Not of what is explained.
    of_the_run = {"code_path", "study", "output_dir", "resume", "rank", "world_size", "inference"}
    scalars = {name for name, value in config.items() if value is None or isinstance(value, str | bool | int)}
    described = {"modalities", "spatial_size"}  # a list, and what is read from the weights
    given = {name: f"any {name}" for name in scalars - of_the_run - {"bundle_root"} | described}
    seen = []

    def stop(root: Path, config_file: Path | None, options: dict[str, Any]) -> None:
        seen.append(options)
        raise InterruptedError

    monkeypatch.setattr("scripts.explanation.explain._configure", stop)
    with pytest.raises(InterruptedError):
        explain(**given)  # type: ignore[arg-type]  # all are texts here
    assert seen == [given]


def test_a_caller_is_refused_an_outcome_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'both'; expected one of decided"):
        explain(output_dir=tmp_path, outcome="both")  # type: ignore[arg-type]  # as a caller without a checker


def test_maps_and_tubers_are_compared_and_told(explained: Path, children: Path, weights: Path, tmp_path: Path) -> None:
    random = tmp_path / "random"
    call(
        "explain",
        dataset_dir=children,
        checkpoint=weights,
        device="cpu",
        output_dir=random,
        random_seed=1,
        pictures=False,
        outcome="controlled",
    )
    sidecar = json.loads(next(random.rglob("*FLAIR*_map.json")).read_text())
    assert sidecar["Weights"] == "random, seed 1" and sidecar["Warnings"][0].startswith("Control")
    assert sidecar["Outcome"] == "controlled"
    printed = call(
        "localize",
        dataset_dir=children,
        maps_dir=explained,
        random_dir=random,
        output_dir=tmp_path / "out",
        resamples=199,
    )
    content = json.loads((tmp_path / "out" / "localization.json").read_text())
    listed = {(row["case"], row["modality"]): row for row in rows(tmp_path / "out" / "localization.csv")}
    for modality in SUFFIXES:
        found = content["modalities"][modality]
        assert found["left_out"].get("sub-03") == "no tubers" and found["children"] <= 2
        shares = [float(listed[case, modality]["tuber_share"]) for case in ("sub-01", "sub-02")]
        assert found["tuber_share"]["value"] == pytest.approx(np.mean(shares), abs=1e-6)
        assert found["layer"] == "_blocks.1" and found["weights"] == "trained"
        assert found["random_weights"]["energy"]["n"] == 2
    # Against the files themselves.
    values = nib.Nifti1Image.from_filename(
        explained / "sub-01" / "anat" / "sub-01_space-T2w_desc-gradcam_map.nii.gz"
    ).get_fdata()
    labels = np.asarray(
        nib.Nifti1Image.from_filename(
            children / "derivatives" / "truth" / "sub-01" / "anat" / "sub-01_space-T2w_desc-lesions_dseg.nii.gz"
        ).dataobj
    )
    assert float(listed["sub-01", "t2w"]["energy"]) == pytest.approx(values[labels == 1].sum() / values.sum(), abs=1e-5)
    text = (tmp_path / "out" / "localization.md").read_text()
    assert text.strip() == printed.text.strip()
    assert f"{100 * content['modalities']['flair']['tuber_share']['value']:.2f} % of the brain" in text


def test_a_child_without_labels_fails_alone(explained: Path, children: Path, tmp_path: Path) -> None:
    copy = tmp_path / "children"
    copy.mkdir()
    for entry in children.iterdir():
        if entry.name != "derivatives":
            (copy / entry.name).symlink_to(entry)
    (copy / "derivatives" / "truth").mkdir(parents=True)
    for name in ("desc-lesions_dseg.tsv", "sub-01", "sub-02"):
        (copy / "derivatives" / "truth" / name).symlink_to(children / "derivatives" / "truth" / name)
    said = call("localize", dataset_dir=copy, maps_dir=explained, output_dir=tmp_path / "out", resamples=199)
    assert said.failed and "2 maps failed" in said.text
    assert {row["case"] for row in rows(tmp_path / "out" / "failures.csv")} == {"sub-03 flair", "sub-03 t2w"}
    assert json.loads((tmp_path / "out" / "localization.json").read_text())["modalities"]["flair"]["children"] == 2


@pytest.mark.parametrize("change", [lambda said: said | {"Layer": "_blocks.2"}, lambda said: said | {"Model": "other"}])
def test_maps_of_several_runs_are_not_mixed(
    change: Callable[[dict[str, Any]], dict[str, Any]], explained: Path, children: Path, tmp_path: Path
) -> None:
    import shutil

    mixed = tmp_path / "maps"
    shutil.copytree(explained, mixed)
    file = mixed / "sub-02" / "anat" / "sub-02_space-FLAIR_desc-gradcam_map.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(InputError, match="the maps differ in"):
        call("localize", dataset_dir=children, maps_dir=mixed, output_dir=tmp_path / "out", resamples=199)


def test_without_maps_there_is_nothing_to_compare(children: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scripts explain"):
        call("localize", dataset_dir=children, maps_dir=tmp_path, output_dir=tmp_path / "out")
