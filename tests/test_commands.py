"""The command line: several values after one option are a list, everything else stays as it was typed."""

from __future__ import annotations

import pytest

from scripts.commands import gather


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        (["report", "--predictions", "a.csv", "b.csv"], ["report", "--predictions", "['a.csv', 'b.csv']"]),
        (
            ["models", "--spatial_size", "64", "64", "32", "--epochs", "2"],
            ["models", "--spatial_size", "[64, 64, 32]", "--epochs", "2"],
        ),
        (["cohort", "--output", "a b.json", "--seed", "-1"], ["cohort", "--output", "a b.json", "--seed", "-1"]),
        (["onnx", "--lean", "--forms", "['gpu']"], ["onnx", "--lean", "--forms", "['gpu']"]),
        (["show", "results", "--output_dir=x", "y"], ["show", "results", "--output_dir=x", "y"]),
        (["show", "--output_dir", "x", "--", "--help"], ["show", "--output_dir", "x", "--", "--help"]),
        ([], []),
    ],
)
def test_values_after_one_option_become_one_list(typed: list[str], taken: list[str]) -> None:
    assert gather(typed) == taken
