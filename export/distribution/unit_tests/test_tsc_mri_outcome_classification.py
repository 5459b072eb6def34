# Copyright (c) MONAI Consortium
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import csv
import os
import shutil
import tempfile
import unittest
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

BUNDLE = "models/tsc_mri_outcome_classification"
SUBJECTS = 10
SHAPES = {"FLAIR": (48, 56, 20), "T2w": (52, 60, 20)}
SMALL = {"bundle_root": BUNDLE, "brain_extraction": "none"}
TRAINING = {**SMALL, "spatial_size": [32, 32, 32], "epochs": 1, "batch_size": 2, "fractions": [0.6, 0.2, 0.2]}


def test_order(test_name1: str, test_name2: str) -> int:
    order = [[word in name for word in ("train", "infer")].index(True) for name in (test_name1, test_name2)]
    return order[0] - order[1]


def write_cohort(folder: str) -> None:
    """A BIDS folder of brain-extracted ellipsoids of about 1000 ml; that of an uncontrolled child has a bright lesion."""
    generator = np.random.default_rng(0)
    rows = ["participant_id\toutcome"]
    for number in range(SUBJECTS):
        subject, outcome = f"sub-{number:02d}", "controlled" if number % 2 == 0 else "uncontrolled"
        os.makedirs(os.path.join(folder, subject, "anat"))
        for suffix, shape in SHAPES.items():
            x, y, z = np.meshgrid(*(np.linspace(-1.25, 1.25, edge) for edge in shape), indexing="ij")
            values = 300 + 60 * generator.standard_normal(shape) + 100 * np.sin(5 * x + number) * np.cos(4 * y)
            values += 500 * (outcome == "uncontrolled") * ((x - 0.3) ** 2 + y**2 + z**2 < 0.16)
            data = np.where(x**2 + y**2 + z**2 < 1, np.clip(values, 20, 3000), 0).astype(np.uint16)
            affine = np.diag([-3.5, -3.5, 7.0, 1.0])
            affine[:3, 3] = [84, 98, -70]
            file = os.path.join(folder, subject, "anat", f"{subject}_{suffix}.nii.gz")
            nib.save(nib.Nifti1Image(data, affine), file)
        rows.append(f"{subject}\t{outcome}")
    with open(os.path.join(folder, "participants.tsv"), "w") as table:
        table.write("\n".join(rows) + "\n")


def config(name: str) -> str:
    return os.path.join(BUNDLE, "configs", name)


def run(workflow_type: str, files: list[str], **override: Any) -> None:
    """Check the workflow's properties and run it."""
    workflow = ConfigWorkflow(
        workflow_type=workflow_type,
        config_file=[config(name) for name in files],
        logging_file=config("logging.conf"),
        meta_file=config("metadata.json"),
        **override,
    )
    workflow.initialize()
    missing = workflow.check_properties()
    if missing:
        raise ValueError(f"check properties for workflow failed: {missing}")
    workflow.run()
    workflow.finalize()


class TestTscOutcome(unittest.TestCase):
    def setUp(self) -> None:
        self.dataset_dir = tempfile.mkdtemp()
        self.output_dir = tempfile.mkdtemp()
        write_cohort(self.dataset_dir)

    def tearDown(self) -> None:
        shutil.rmtree(self.dataset_dir)
        shutil.rmtree(self.output_dir)

    def predictions(self, folder: str) -> list[dict[str, str]]:
        with open(os.path.join(folder, "predictions.csv")) as file:
            return list(csv.DictReader(file))

    def test_train_eval_config(self) -> None:
        trained, evaluated = (os.path.join(self.output_dir, name) for name in ("train", "evaluate"))
        datalist = os.path.join(trained, "datalist.json")
        common = {**TRAINING, "dataset_dir": self.dataset_dir, "datalist": datalist}
        run("train", ["train.json"], **common, output_dir=trained)
        weights = os.path.join(trained, "model.pt")
        self.assertTrue(os.path.isfile(weights))
        settings = {name: value for name, value in common.items() if name != "spatial_size"}  # the weights know theirs
        run("train", ["train.json", "evaluate.json"], **settings, output_dir=evaluated, checkpoint=weights)
        self.assertEqual(len(self.predictions(evaluated)), 2)
        self.assertTrue(os.path.isfile(os.path.join(evaluated, "metrics.json")))

    def test_infer_config(self) -> None:
        run("infer", ["inference.json"], **SMALL, dataset_dir=self.dataset_dir, output_dir=self.output_dir)
        scores = [float(row["score"]) for row in self.predictions(self.output_dir)]
        self.assertEqual(len(scores), SUBJECTS)
        self.assertTrue(all(0 < score < 1 for score in scores))


if __name__ == "__main__":
    loader = unittest.TestLoader()
    loader.sortTestMethodsUsing = test_order
    unittest.main(testLoader=loader)
