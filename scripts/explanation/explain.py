"""The verb `explain`: Grad-CAM of every branch, on the images' own grids.

    python -m scripts explain --dataset_dir DIR --brain_extraction mask --output_dir results/explain

Cases, preprocessing, network, threshold and device are those of `bundle/configs/inference.json`, whose scalars are options here
too. The folder is a BIDS derivative (`maps`), with maps.csv (one row a map), failures.csv and a page a case. What a map is:
`gradcam`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import Tensor
from tqdm import tqdm

from scripts.answer import Answer
from scripts.bids import Case
from scripts.checkpoint import model_version, origin_warning
from scripts.config import check_ids, check_size
from scripts.errors import InputError
from scripts.explanation.explainer import Choice, Explainer, Explanation, prepare
from scripts.explanation.gradcam import METHODS, randomised
from scripts.explanation.maps import (
    check_names,
    describe_dataset,
    figure_path,
    map_path,
    sources,
    store_map,
    write_sidecar,
)
from scripts.files import sha256, write_csv
from scripts.network import ETSCNet
from scripts.outcome import OUTCOMES, RESEARCH_ONLY
from scripts.pictures import explanation_picture

logger = logging.getLogger(__name__)
TARGETS = ("decided", *OUTCOMES)
STUDIES_FOR_STATISTICS = 8  # that a network of random weights measures its normalisation on
COLUMNS = ["case", "modality", "outcome", "score", "branch_score", "layer", "largest"]
COLUMNS += ["peak_x_mm", "peak_y_mm", "peak_z_mm", "cell_x_mm", "cell_y_mm", "cell_z_mm", "map"]


def explain(
    *,
    output_dir: str | Path = "results/explain",
    bundle_root: str | Path = "bundle",
    config_file: str | Path | None = None,
    layer: str | None = None,
    method: Literal["gradcam", "gradcam++"] = "gradcam",
    outcome: Literal["decided", "controlled", "uncontrolled"] = "decided",
    random_seed: int | None = None,
    dataset_dir: str | Path | None = None,
    datalist: str | Path | None = None,
    flair: str | Path | None = None,
    t2w: str | Path | None = None,
    flair_mask: str | Path | None = None,
    t2w_mask: str | Path | None = None,
    checkpoint: str | Path | None = None,
    modalities: Sequence[str] | None = None,
    spatial_size: Sequence[int] | None = None,
    brain_extraction: Literal["hd-bet", "bet", "mask", "none"] | None = None,
    hd_bet_weights: str | Path | None = None,
    hd_bet_mirroring: bool | None = None,
    mask_quality: Literal["refuse", "warn"] | None = None,
    pictures: bool | None = None,
    device: str | None = None,
) -> Answer:
    """Draw where the scores come from: Grad-CAM maps of every branch on the images' own grids, as a BIDS derivative.

    Args:
        output_dir: folder of the maps, a new one or that of earlier maps.
        bundle_root: folder of the bundle.
        config_file: an overlay over its inference.json, for weights of another backbone.
        layer: of a branch, whose features the maps are made of, such as _blocks.2; None: the last whose map has 8 voxels along
            every edge.
        method: gradcam or gradcam++.
        outcome: whose evidence is shown: decided (that of the fused score's decision), controlled or uncontrolled.
        random_seed: of weights drawn anew, whose maps are a control; the outcome is still the trained network's. None: trained.
        dataset_dir: BIDS folder of the studies. For this and what follows inference.json has the defaults.
        datalist: JSON file of studies, a list or with a part "testing".
        flair, t2w: the images of one study.
        flair_mask, t2w_mask: its brain masks.
        checkpoint: weights, a .pt file.
        modalities: flair, t2w or both.
        spatial_size: edges of the network's image in voxels, three multiples of 32.
        brain_extraction: hd-bet, bet, mask (given masks) or none (the images are brain-extracted).
        hd_bet_weights: folder of HD-BET's weights.
        hd_bet_mirroring: whether HD-BET looks at every mirror image, too.
        mask_quality: of a brain mask that looks wrong: refuse the study, or warn.
        pictures: whether a page a study is drawn.
        device: of torch, such as cpu or cuda:0.

    Example:
        python -m scripts explain --dataset_dir data/cohort --brain_extraction mask --output_dir results/explain

    Returns:
        What was written: the number of maps, their table, the failures.

    Raises:
        InputError: an unknown option, no cases, weights that can't be loaded, a layer that does not exist.
    """
    if outcome not in TARGETS:
        raise InputError(
            f"outcome is {outcome!r}", expected=f"one of {', '.join(TARGETS)}", remedy="Correct --outcome."
        )
    folder = Path(str(output_dir))
    given = {
        "dataset_dir": dataset_dir,
        "datalist": datalist,
        "flair": flair,
        "t2w": t2w,
        "flair_mask": flair_mask,
        "t2w_mask": t2w_mask,
        "checkpoint": checkpoint,
        "modalities": modalities,
        "spatial_size": spatial_size,
        "brain_extraction": brain_extraction,
        "hd_bet_weights": hd_bet_weights,
        "hd_bet_mirroring": hd_bet_mirroring,
        "mask_quality": mask_quality,
        "pictures": pictures,
        "device": device,
    }
    config = _configure(Path(bundle_root), config_file, given)
    cases: list[Case] = config.get_parsed_content("cases")
    check_names(cases)
    network: ETSCNet = config.get_parsed_content("network")
    transform: Compose = config.get_parsed_content("preprocessing")
    weights, version = Path(config.get_parsed_content("checkpoint")), str(config["_meta_"]["version"])
    warnings = [RESEARCH_ONLY, origin_warning(weights)]
    studies = config.get_parsed_content("dataset_dir")
    run = _Run(
        output_dir=folder,
        dataset_dir=None if studies is None else Path(studies),
        model={"version": model_version(weights, version), "sha256": sha256(weights), "random_seed": random_seed},
        warnings=[warning for warning in warnings if warning],
        pictures=bool(config.get_parsed_content("pictures")),
        method=method,
    )
    shown = None if random_seed is None else _random_network(network, transform, cases, random_seed)
    explainer = Explainer(
        network,
        transform,
        spatial_size=config.get_parsed_content("spatial_size"),
        choice=Choice(layer, method, outcome),
        shown=shown,
    )
    describe_dataset(folder, dataset_dir=run.dataset_dir, version=run.model["version"], warnings=run.warnings)
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for case in tqdm(cases, desc="explaining", disable=None):
        try:
            rows += run.write(case, explainer(case))
        except Exception as error:  # whatever goes wrong in one study is that study's failure; the others go on
            cause = error.__cause__ if isinstance(error.__cause__, InputError) else error
            reason = (
                str(cause) if isinstance(cause, InputError) else f"case {case['case']}: {type(error).__name__}: {error}"
            )
            logger.error("%s", reason)
            failures.append({"case": str(case["case"]), "reason": reason})
    write_csv(folder / "maps.csv", rows, columns=COLUMNS)
    write_csv(folder / "failures.csv", failures, columns=["case", "reason"])
    text = "\n".join([f"{len(rows)} maps of {len(cases)} studies: {folder / 'maps.csv'}", *run.warnings])
    if failures:
        first = "\n".join(f"  {failure['reason']}" for failure in failures[:20])
        text = f"{len(failures)} of {len(cases)} studies failed, see {folder / 'failures.csv'}:\n{first}"
    data = {"table": folder / "maps.csv", "studies": len(cases), "maps": rows, "failures": failures}
    return Answer(text, {**data, "warnings": run.warnings}, failed=bool(failures))


@dataclass(frozen=True)
class _Run:
    """Where and as what the maps are written."""

    output_dir: Path
    dataset_dir: Path | None
    model: Mapping[str, Any]
    warnings: Sequence[str]
    pictures: bool
    method: str

    def write(self, case: Case, found: Explanation) -> list[dict[str, Any]]:
        """Write a case's files. Returns its rows of maps.csv."""
        rows = []
        for name, mapped in found.maps.items():
            path = map_path(str(case["case"]), name, method=self.method)
            shape, affine = found.stored[name]
            store_map(mapped, self.output_dir / path, shape=shape, affine=affine)
            write_sidecar(self.output_dir / path, self._sidecar(case, name, found))
            peak = ("", "", "") if mapped.peak_mm is None else tuple(round(value, 2) for value in mapped.peak_mm)
            values = [case["case"], name, found.result["outcome"], found.result["score"]]
            values += [found.result["branch_scores"][name], found.grids[name].layer, f"{mapped.largest:.6g}"]
            rows.append(dict(zip(COLUMNS, [*values, *peak, *found.cells_mm[name], path.as_posix()], strict=True)))
        if self.pictures:
            page = {**found.result, "model_version": self.model["version"], "warnings": self._warnings()}
            page["layers"] = {name: self._where(name, found) for name in found.maps}
            explanation_picture(
                found.maps, page, path=self.output_dir / figure_path(str(case["case"]), method=self.method)
            )
        return rows

    def _warnings(self) -> list[str]:
        seed = self.model["random_seed"]
        drawn = [] if seed is None else [f"Control: maps of weights drawn anew (seed {seed}), not of the trained ones."]
        return [*drawn, *self.warnings]

    @staticmethod
    def _where(name: str, found: Explanation) -> str:
        cell = " x ".join(f"{edge:.0f}" for edge in found.cells_mm[name])
        return f"layer {found.grids[name].layer}, cells of {cell} mm"

    def _sidecar(self, case: Case, name: str, found: Explanation) -> dict[str, Any]:
        grid, mapped, outcome = found.grids[name], found.maps[name], found.result["outcome"]
        sign = "" if outcome == OUTCOMES[1] else "-"
        return {
            "Description": f"{METHODS[self.method].__name__} of the {name} branch: where its features speak for '{outcome}'. "
            "Divided by its maximum in the brain; 0 outside of the brain. It shows what moved the score, not why seizures go on.",
            "Sources": sources(case, name, self.dataset_dir),
            "Outcome": outcome,
            "ExplainedScore": f"{sign}logit of the {name} branch, whose logit is towards '{OUTCOMES[1]}'",
            "Decision": found.result["decision"],
            "Score": found.result["score"],
            "BranchScore": found.result["branch_scores"][name],
            "Threshold": found.result["threshold"],
            "Empty": mapped.largest == 0,
            "MaximumBeforeDivision": mapped.largest,
            "PeakWorldMillimeters": None if mapped.peak_mm is None else [round(value, 2) for value in mapped.peak_mm],
            "Layer": grid.layer,
            "FeatureGrid": list(grid.shape),
            "NetworkGrid": list(found.image_shape),
            "ResolutionMillimeters": list(found.cells_mm[name]),
            "Resolution": "edges of a feature's cell along right-left, back-front, foot-head; nothing smaller is resolved, and a "
            "feature sees more than its cell",
            "PlacedByReceptiveField": grid.traced,
            "Interpolation": "trilinear between the cells' centres",
            "Model": self.model["version"],
            "ModelSHA256": self.model["sha256"],
            "Weights": "trained" if self.model["random_seed"] is None else f"random, seed {self.model['random_seed']}",
            "Warnings": self._warnings(),
        }


def _configure(root: Path, config_file: str | Path | None, given: Mapping[str, Any]) -> ConfigParser:
    """inference.json with the scalars that are given, which are those that are not None."""
    files = [root / "configs" / "inference.json"] + ([] if config_file is None else [Path(str(config_file))])
    for path in [*files, root / "configs" / "metadata.json"]:
        if not path.is_file():
            raise InputError("no such file", expected="a bundle", remedy="Give --bundle_root.", file=path)
    parser = ConfigParser()
    parser.read_config([str(path) for path in files])
    parser.read_meta(str(root / "configs" / "metadata.json"))
    parser["bundle_root"] = str(root)
    for name, value in given.items():
        if value is not None:
            parser[name] = str(value) if isinstance(value, Path) else value
    check_ids(parser)
    check_size(parser.get_parsed_content("spatial_size"))
    return parser


def _random_network(network: ETSCNet, transform: Compose, cases: Sequence[Case], seed: int) -> ETSCNet:
    images: list[Tensor] = []
    for case in cases:
        if len(images) == STUDIES_FOR_STATISTICS:
            break
        try:
            images.append(prepare(transform, case)[2]["image"].as_tensor()[None])
        except Exception as error:  # told when its turn comes
            logger.debug("%s", error)
    return randomised(network, images, seed=seed)
