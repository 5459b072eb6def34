"""A command in a process of its own: its log, its status, and its end with the one who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from scripts.experiments.child import last_lines, run_logged
from tests.conftest import ROOT


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_the_log_holds_every_command_and_all_that_it_said(tmp_path: Path) -> None:
    log = tmp_path / "new" / "log.txt"
    calls: list[int] = []
    assert run_logged(python("print('one')"), log, meanwhile=lambda: calls.append(1), every_s=0.01) == 0
    assert run_logged(python("import sys; print('two', file=sys.stderr); sys.exit(3)"), log) == 3
    text = log.read_text()
    assert "one" in text and text.count(sys.executable) == 2
    assert last_lines(log, 1) == ["two"]
    assert len(calls) > 1, "called while the command ran, and at its end"


def test_a_command_that_a_signal_ended_has_a_negative_status(tmp_path: Path) -> None:
    assert run_logged(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), tmp_path / "log") == -9


def test_a_setting_of_the_user_counts_more_than_ours(tmp_path: Path) -> None:
    read = python("import os; print(os.environ['MALLOC_TRIM_THRESHOLD_'])")
    run_logged(read, tmp_path / "ours")
    assert last_lines(tmp_path / "ours", 1) == ["1000000000"]
    os.environ["MALLOC_TRIM_THRESHOLD_"] = "7"
    try:
        run_logged(read, tmp_path / "theirs")
    finally:
        del os.environ["MALLOC_TRIM_THRESHOLD_"]
    assert last_lines(tmp_path / "theirs", 1) == ["7"]


def test_no_log_has_no_last_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == []


def test_a_command_does_not_outlive_the_one_who_is_asked_to_end(tmp_path: Path) -> None:
    inner = python("import os, time; print(os.getpid(), flush=True); time.sleep(120)")
    outer = (
        "from pathlib import Path\nfrom scripts.experiments.child import ended_by_signals, run_logged\n"
        f"with ended_by_signals():\n    run_logged({inner!r}, Path({str(tmp_path / 'log')!r}), every_s=0.05)"
    )
    process = subprocess.Popen(python(outer), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    said: list[str] = []
    while not (said and said[0].isdigit()) and time.monotonic() < deadline:
        time.sleep(0.05)
        said = last_lines(tmp_path / "log", 1)
    child = int(said[0])
    os.kill(child, 0)  # it is there
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) != 0
    assert not Path(f"/proc/{child}").exists()
