"""The table of results on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.__main__ import VERBS
from scripts.command_line.commands import run
from scripts.errors import InputError
from scripts.files import write_csv
from scripts.show import show


def write_run(folder: Path, *, cases: int, failures: int = 0, pictures: bool = True) -> None:
    """The files of a finished run with the scores 0.25, 0.50, 0.75, ..., threshold 0.5."""
    for number in range(1, cases + 1):
        score = 0.25 * number
        result = {
            "case": f"sub-{number:03d}",
            "score": score,
            "branch_scores": {"flair": score - 0.125, "t2w": score + 0.125},
            "decision": "controlled" if score >= 0.5 else "uncontrolled",
            "threshold": 0.5,
            "model_version": "0.1.0+12345678",
            "device": "cpu",
            "warnings": ["Research only, not for diagnosis.", "Synthetic."],
            "seconds": {"load": 0.5, "preprocess": 1.0, "network": 2.0},
        }
        if number == 1:
            result["label"] = 0
        (folder / f"sub-{number:03d}.json").write_text(json.dumps(result))
        if pictures:
            (folder / f"sub-{number:03d}.png").touch()
    write_csv(folder / "predictions.csv", [{"case": f"sub-{n:03d}"} for n in range(1, cases + 1)], columns=["case"])
    bad = [{"case": f"sub-{n}", "reason": f"case sub-{n}: no t2w image"} for n in range(900, 900 + failures)]
    write_csv(folder / "failures.csv", bad, columns=["case", "reason"])


def test_every_study_has_a_row_with_its_own_figures(tmp_path: Path) -> None:
    write_run(tmp_path, cases=3)
    header, first, second, third, *rest = show(tmp_path).text.splitlines()
    assert header.split() == ["case", "label", "score", "flair", "t2w", "threshold", "decision", "seconds", "picture"]
    picture = str(tmp_path / "sub-001.png")
    assert first.split() == ["sub-001", "0", "0.250", "0.125", "0.375", "0.500", "uncontrolled", "3.5", picture]
    assert second.split()[:3] == ["sub-002", "-", "0.500"]
    assert "  controlled  " in second
    assert third.index("0.750") == header.index("score")
    assert f"3 scored, 0 failed: {tmp_path / 'predictions.csv'}" in rest


def test_what_must_be_said_is_said_once(tmp_path: Path) -> None:
    write_run(tmp_path, cases=2)
    lines = show(tmp_path).text.splitlines()
    assert lines[-3:] == ["model 0.1.0+12345678 on cpu", "Research only, not for diagnosis.", "Synthetic."]


def test_what_is_said_of_one_study_bears_its_name(tmp_path: Path) -> None:
    write_run(tmp_path, cases=2)
    path = tmp_path / "sub-002.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "warnings": [*result["warnings"], "Unlike the training cohort."]}))
    lines = show(tmp_path).text.splitlines()
    assert lines[-3:] == ["Research only, not for diagnosis.", "Synthetic.", "sub-002: Unlike the training cohort."]


def test_failures_are_told_with_their_reasons(tmp_path: Path) -> None:
    write_run(tmp_path, cases=0, failures=2)
    assert show(tmp_path).text.splitlines() == [
        f"0 scored, 2 failed: {tmp_path / 'predictions.csv'}",
        "failed: case sub-900: no t2w image",
        "failed: case sub-901: no t2w image",
    ]


def test_results_of_earlier_runs_in_the_folder_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, cases=3)
    write_run(tmp_path, cases=1)
    text = show(tmp_path).text
    assert "sub-001" in text
    assert "sub-002" not in text


def test_without_pictures_none_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, cases=1, pictures=False)
    assert ".png" not in show(tmp_path).text


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"predictions\.csv.*--output_dir"):
        show(tmp_path)


@pytest.mark.parametrize("content", [None, '{"case": '])
def test_a_lost_or_damaged_result_is_refused(tmp_path: Path, content: str | None) -> None:
    write_run(tmp_path, cases=2)
    file = tmp_path / "sub-002.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(InputError, match=r"sub-002\.json.*Score the case again"):
        show(tmp_path)


def test_the_verb_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, cases=1)
    with pytest.raises(SystemExit, match="0"):
        run("scripts", VERBS, ["show", "--output_dir", str(tmp_path)])
    assert capsys.readouterr().out == show(tmp_path).text + "\n"


def test_with_json_it_prints_every_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, cases=2, failures=1)
    with pytest.raises(SystemExit, match="0"):
        run("scripts", VERBS, ["show", "--output_dir", str(tmp_path), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert [result["score"] for result in said["results"]] == [0.25, 0.5]
    assert [failure["case"] for failure in said["failures"]] == ["sub-900"]
