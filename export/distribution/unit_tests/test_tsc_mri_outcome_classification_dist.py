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

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import torch
from test_tsc_mri_outcome_classification import BUNDLE, TRAINING, config, write_cohort


class TestTscOutcomeMGPU(unittest.TestCase):
    def setUp(self) -> None:
        self.dataset_dir = tempfile.mkdtemp()
        self.output_dir = tempfile.mkdtemp()
        write_cohort(self.dataset_dir)

    def tearDown(self) -> None:
        shutil.rmtree(self.dataset_dir)
        shutil.rmtree(self.output_dir)

    def test_train_mgpu_config(self) -> None:
        override = {**TRAINING, "dataset_dir": self.dataset_dir, "output_dir": self.output_dir}
        processes = torch.cuda.device_count()
        if processes == 0:  # the same on a CPU
            processes = 2
            override.update({"backend": "gloo", "device": "$torch.device('cpu')"})
        # One image a process: batch norm needs more than one voxel of the last feature map, which is a 32nd of the image.
        override.update({"batch_size": processes, "spatial_size": [64, 64, 32]})
        cmd = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc_per_node={processes}",
            "-m",
            "monai.bundle",
            "run",
            "training",
            "--config_file",
            str([config("train.json"), config("multi_gpu_train.json")]),
            "--logging_file",
            config("logging.conf"),
            "--meta_file",
            config("metadata.json"),
        ]
        for name, value in override.items():
            cmd += [f"--{name}", str(value)]
        subprocess.check_call(cmd, env={**os.environ, "PYTHONPATH": BUNDLE})
        self.assertTrue(os.path.isfile(os.path.join(self.output_dir, "model.pt")))


if __name__ == "__main__":
    unittest.main()
