"""The commands as they are typed: a fault is said without a traceback, and the exit status tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import ROOT
from tests.distribution.conftest import zip_of
from tests.processes import run_module


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module("export", arguments, cwd=ROOT)


def test_unpack_needs_the_hash_and_refuses_another(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", [("b/LICENSE", b"x")])
    assert export("unpack", "--archive", str(path), "--output_dir", str(tmp_path / "out")).returncode != 0
    done = export("unpack", "--archive", str(path), "--output_dir", str(tmp_path / "out"), "--sha256", "0" * 64)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_release_without_a_key_is_refused(tmp_path: Path) -> None:
    assert export("release", "--output_dir", str(tmp_path / "release")).returncode != 0
    done = export("release", "--private_key", str(tmp_path / "key"), "--output_dir", str(tmp_path / "release"))
    assert done.returncode == 1
    assert "keygen" in done.stderr
    assert not list(tmp_path.iterdir())
