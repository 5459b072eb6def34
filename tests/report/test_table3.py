"""Table 3 in words: measured figures beside the printed ones, and what could not be measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import InputError
from scripts.report.document import Table
from scripts.report.table3 import resources_section, table3

TASK = {
    "batch_size": 1,
    "seconds": [0.5, 0.1, 0.2, 0.3, 0.4],
    "cpu_seconds": [0.6, 0.6, 0.7, 0.6, 0.6],
    "threads": 2,
    "precision": "float32",
    "resident_before_bytes": 400 * 2**20,
    "resident_peak_bytes": 1500 * 2**20,
}
MEASURED: dict[str, Any] = {
    "conditions": {"spatial_size": [256, 256, 128], "batch_size": 4, "device": "cpu", "memory_limit_bytes": 2**34},
    "machine": {
        "cpu": "a processor",
        "logical_cores": 2,
        "virtual_machine": True,
        "memory_bytes": 2**35,
        "gpu": None,
        "load_average": [0.5, 0, 0],
    },
    "versions": {"torch": "2.13.0"},
    "rows": [
        {
            "backbone": backbone,
            "modalities": modalities,
            "parameters": parameters,
            "trainable": parameters,
            "parameter_bytes": 4 * parameters,
            "multiply_adds": 10_438_326_016,
            "inference": dict(TASK),
            "training": dict(TASK),
        }
        for backbone, parameters, modalities in (
            ("resnet18", 33_141_185, ["flair"]),
            ("efficientnet3d-b0", 4_689_661, ["flair"]),
            ("resnet18", 66_282_370, ["flair", "t2w"]),
            ("efficientnet3d-b0", 9_379_322, ["flair", "t2w"]),
            ("swin", 10**6, ["flair"]),
        )
    ],
}


def cells(table: Table, label: str, nth: int = 0) -> tuple[str, ...]:
    return [row[1:] for row in table.rows if row[0] == label][nth]


def test_the_printed_figures_stand_below_the_measured_ones() -> None:
    table = table3(MEASURED)
    assert table.columns == ("", "ResNet3D", "EfficientNet3D-B0", "dual ResNet3D", "eTSC-Net", "swin")
    assert cells(table, "parameters, million") == ("33.14", "4.69", "66.28", "9.38", "1.00")
    assert cells(table, "  paper") == ("33.14", "4.69", "66.28", "9.38", "-")
    assert cells(table, "parameters, float32, MiB") == ("126.42", "17.89", "252.85", "35.78", "3.81")
    assert cells(table, "  paper, MB") == ("244.07", "17.89", "488.14", "35.78", "-")
    assert cells(table, '  paper, "VRAM", MB') == ("864.11", "241.45", "1496.22", "370.90", "-")
    assert cells(table, "multiply-adds of a score, 10^9")[0] == "10.44"


def test_times_are_median_and_percentiles_and_memory_is_a_difference() -> None:
    table = table3(MEASURED)
    # 10 % of the way through 5 sorted values 0.1 ... 0.5 is 0.1 + 0.4 * 0.1
    assert cells(table, "one score, ms, median (10 to 90 %)")[0] == "300 (140 to 460)"
    assert cells(table, "  processor time, all threads, ms, median")[0] == "600"
    assert cells(table, "peak memory of one score, MiB: added to the process")[0] == "1,100"
    assert cells(table, "  whole process")[0] == "1,500"
    assert not any("GPU" in row[0] for row in table.rows)


def test_few_runs_have_no_percentiles() -> None:
    measured = copy.deepcopy(MEASURED)
    measured["rows"][0]["training"]["seconds"] = [7.0]
    assert cells(table3(measured), "training step, s, median (10 to 90 %)")[0] == "7.00 (1 run)"


def test_what_did_not_fit_is_said_in_its_row_and_below() -> None:
    measured = copy.deepcopy(MEASURED)
    training = {"batch_size": 1, "did_not_fit": "no memory", "did_not_fit_at": {"4": "nor here", "2": "nor there"}}
    measured["rows"][2]["training"] = training
    measured["rows"][3]["training"] = {**TASK, "batch_size": 2, "did_not_fit_at": {"4": "too much"}}
    table = table3(measured)
    assert cells(table, "training step, s, median (10 to 90 %)")[2] == "did not fit"
    assert cells(table, "peak memory of training, MiB: added to the process")[2] == "did not fit"
    assert cells(table, "training step: batch")[2:4] == ("1", "2 (more did not fit)")
    notes = "\n".join(table.notes)
    for batch, reason in (("4", "nor here"), ("2", "nor there"), ("1", "no memory")):
        assert f"dual ResNet3D, training: a batch of {batch} did not fit ({reason})." in notes
    assert "eTSC-Net, training: a batch of 4 did not fit (too much)." in notes


def test_a_gpu_has_lines_of_its_own() -> None:
    measured = copy.deepcopy(MEASURED)
    measured["conditions"] |= {"device": "cuda:0", "memory_limit_bytes": 0}
    measured["rows"][1]["inference"] |= {"cuda_allocated_bytes": 900 * 2**20, "cuda_reserved_bytes": 1000 * 2**20}
    table = table3(measured)
    assert cells(table, "  GPU, allocated")[:2] == ("-", "900") and cells(table, "  GPU, reserved")[1] == "1,000"
    assert "max_memory_reserved" in "\n".join(table.notes)


def test_a_count_that_there_is_not_is_a_dash_with_its_reason() -> None:
    measured = copy.deepcopy(MEASURED)
    measured["rows"][4] |= {"multiply_adds": None, "multiply_adds_reason": "no kernel"}
    table = table3(measured)
    assert cells(table, "multiply-adds of a score, 10^9")[4] == "-"
    assert "swin: multiply-adds could not be counted (no kernel)." in table.notes


def test_the_section_reads_the_file_and_refuses_another(tmp_path: Path) -> None:
    file = tmp_path / "table3.json"
    file.write_text(json.dumps(MEASURED))
    assert resources_section(file).blocks[0] == table3(MEASURED)
    for content in ("{", "{}", json.dumps({**MEASURED, "rows": [{}]})):
        file.write_text(content)
        with pytest.raises(InputError, match=r"table3\.json.*expected the table3.json"):
            resources_section(file)
    with pytest.raises(InputError, match="cannot be read"):
        resources_section(tmp_path / "none.json")
