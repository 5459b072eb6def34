"""Names and files of the synthetic BIDS dataset; every one of them says that it is synthetic."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.phantom.acquisition import Acquired
from scripts.phantom.clinic import EEG_REGIONS, ideal_auc_with_age
from scripts.phantom.head import Float64
from scripts.phantom.outcome import COEFFICIENTS, LATENTS, PREVALENCE_UNCONTROLLED, Preset, ideal_auc, intercept
from scripts.phantom.protocol import PROTOCOLS, SPACING_MM, THICKNESS_MM, Protocol

DESCRIP = b"SYNTHETIC TSC phantom, not a patient"
GENERATED_BY = {"Name": "eTSC-Net phantom", "Description": "Synthetic TSC cohort, `python -m scripts phantom`"}
DERIVED = Path("derivatives") / "phantom"
LESION_NAMES = ("tuber", "cyst part of a tuber", "subependymal nodule", "radial migration line")

_SHARE = {"Levels": {"0": "no", "1": "yes"}}
PARTICIPANTS = {
    "participant_id": {"Description": "Synthetic subject; no such person exists"},
    "outcome": {
        "Description": "Seizures after one year of medication",
        "Levels": {"controlled": "no seizure for a year (label 1)", "uncontrolled": "seizures go on (label 0)"},
    },
    "age_mri_months": {"Description": "Age at MRI", "Units": "months"},
    "age_onset_months": {"Description": "Age at the first seizure", "Units": "months"},
    "infantile_spasms": {"Description": "Infantile spasms", **_SHARE},
    "gene": {"Description": "Pathogenic variant", "Levels": {"negative": "none found", "TSC1": "TSC1", "TSC2": "TSC2"}},
    "sex": {"Description": "Sex", "Levels": {"M": "male", "F": "female"}},
    "three_or_more_medications": {"Description": "Three or more anti-seizure medications", **_SHARE},
    "tubers": {"Description": "Number of cortical tubers"},
    **{
        f"eeg_{region}": {"Description": f"Epileptiform discharges {region.replace('_', ' ')}", **_SHARE}
        for region in EEG_REGIONS
    },
}


def image_path(name: str, protocol: Protocol) -> Path:
    """Where an image of the subject `name` lies, relative to the dataset."""
    return Path(name) / "anat" / f"{name}_{protocol.suffix}.nii.gz"


def derived_path(name: str, protocol: Protocol, ending: str) -> Path:
    """Path of a mask ("brain_mask") or of labels ("lesions_dseg") on the grid of an image."""
    return DERIVED / name / "anat" / f"{name}_space-{protocol.suffix}_desc-{ending}.nii.gz"


def subject_files(folder: Path, name: str) -> list[Path]:
    """Every file of a subject."""
    files = []
    for protocol in PROTOCOLS:
        image = image_path(name, protocol)
        files += [image, image.with_name(image.name.replace(".nii.gz", ".json"))]
        files += [derived_path(name, protocol, ending) for ending in ("brain_mask", "lesions_dseg")]
    return [folder / file for file in files]


def write_image(folder: Path, name: str, protocol: Protocol, acquired: Acquired) -> None:
    """Write an image with its sidecar, brain mask and lesion labels."""
    _write_nifti(folder / derived_path(name, protocol, "brain_mask"), acquired.brain, acquired.affine)
    _write_nifti(folder / derived_path(name, protocol, "lesions_dseg"), acquired.lesions, acquired.affine)
    image = folder / image_path(name, protocol)
    _write_json(image.with_name(image.name.replace(".nii.gz", ".json")), sidecar(protocol))
    _write_nifti(image, acquired.image, acquired.affine)


def sidecar(protocol: Protocol) -> dict[str, object]:
    """BIDS metadata of an image: times in s, lengths in mm."""
    sequence = protocol.sequence
    timing: dict[str, object] = {"RepetitionTime": sequence.tr / 1000, "EchoTime": sequence.te / 1000}
    if sequence.ti is not None:
        timing["InversionTime"] = sequence.ti / 1000
    return {
        "Synthetic": True,
        "Description": "Synthetic image of a head that does not exist: simulated tissue, lesions and acquisition",
        "Modality": "MR",
        "Manufacturer": "none (simulated)",
        "MagneticFieldStrength": 3,
        "MRAcquisitionType": "2D",
        "ScanningSequence": "SE" if sequence.ti is None else "SE/IR",
        "ScanOptions": "FS" if sequence.fat < 1 else "",
        **timing,
        "SliceThickness": THICKNESS_MM,
        "SpacingBetweenSlices": SPACING_MM,
    }


def claim_folder(folder: Path, plan: Mapping[str, object], subjects: int) -> None:
    """Write the dataset's descriptions, or check that they are those of this very plan.

    Raises:
        InputError: the folder holds another cohort, a larger one, or something else.
    """
    path = folder / "dataset_description.json"
    if path.is_file():
        found = json.loads(path.read_text()).get("Phantom", {})
        other = {
            key: (found.get(key, "nothing"), value) for key, value in plan.items() if found.get(key, "nothing") != value
        }
        if found.get("subjects", 0) > subjects:
            other["subjects"] = (found["subjects"], subjects)
        if other:
            listed = [(key, *pair) for key, pair in other.items()]
            raise InputError(
                "this folder holds another cohort: " + ", ".join(f"{key} {found!r}" for key, found, _ in listed),
                expected=", ".join(f"{key} {wanted!r}" for key, _, wanted in listed),
                remedy="Choose a new output_dir, or ask for the cohort that was begun here.",
                file=path,
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            "files, but no dataset_description.json",
            expected="a new or empty output_dir, or a synthetic cohort that was begun",
            remedy="Choose another output_dir.",
            file=folder,
        )
    common = {"BIDSVersion": "1.10.0", "Synthetic": True, "GeneratedBy": [GENERATED_BY]}
    _write_json(
        path,
        {"Name": "Synthetic TSC cohort (no patient data)", "DatasetType": "raw", **common}
        | {"Phantom": {**plan, "subjects": subjects}},
    )
    _write_json(
        folder / DERIVED / "dataset_description.json",
        {"Name": "Exact masks and lesion labels of the synthetic TSC cohort", "DatasetType": "derivative", **common},
    )
    rows = [{"index": i, "name": name} for i, name in enumerate(LESION_NAMES, start=1)]
    _write_tsv(folder / DERIVED / "desc-lesions_dseg.tsv", rows)
    _write(
        folder / "README",
        b"SYNTHETIC TSC cohort: simulated FLAIR and T2w images of heads that do not exist. Research only, not for diagnosis.\n"
        b"sourcedata/ holds the truth behind the outcome: nothing that is trained may read it.\n",
    )


def write_tables(
    folder: Path, participants: Sequence[Mapping[str, object]], truth: Sequence[Mapping[str, object]], preset: Preset
) -> None:
    """Write participants.tsv with its sidecar, and the truth beside the data."""
    _write_json(folder / "participants.json", PARTICIPANTS)
    _write_tsv(folder / "participants.tsv", participants)
    _write_tsv(folder / "sourcedata" / "truth.tsv", truth)
    _write_json(
        folder / "sourcedata" / "truth.json",
        {
            "Synthetic": True,
            "Description": "P(uncontrolled) = expit(intercept + effect * coefficients @ latents); label 1 = controlled",
            "ideal_auc": round(ideal_auc(preset), 4),
            "ideal_auc_with_age_at_mri": round(ideal_auc_with_age(preset), 4),
            "intercept": round(intercept(preset), 6),
            "effect": preset.effect,
            "coefficients": dict(zip(LATENTS, COEFFICIENTS, strict=True)),
            "prevalence_uncontrolled": round(PREVALENCE_UNCONTROLLED, 6),
        },
    )


def _write(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: a file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(content)
    temporary.replace(path)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    _write(path, (json.dumps(content, indent=2) + "\n").encode())


def _write_tsv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(str(value) for value in row.values()) for row in rows)]
    _write(path, ("\n".join(lines) + "\n").encode())


def _write_nifti(path: Path, data: NDArray[np.uint8] | NDArray[np.uint16], affine: Float64) -> None:
    """Gzip without a time stamp, so that equal images are equal files."""
    image = nib.Nifti1Image(data, affine)
    image.header["descrip"] = DESCRIP
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    _write(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
