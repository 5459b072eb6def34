"""The deployment's files name what exists, and the scripts beside them have a help."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from deploy.targets import TARGETS
from deploy.wheels import EXTRAS
from etscnet_edge.server.access import OPEN
from etscnet_edge.verbs import VERBS

from tests.conftest import ROOT

DEPLOY = ROOT / "edge" / "deploy"
UNIT = DEPLOY / "etscnet-edge.service"
DROP_INS = tuple(sorted(DEPLOY.glob("*.conf")))
DOCKERFILES = tuple(sorted(DEPLOY.glob("Dockerfile.*")))
EXPOSURE = 15  # tenths, of systemd-analyze security: the unit has 9, with both drop-ins 15


def joined(path: Path) -> list[str]:
    """Lines without comments, continued ones in one."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    return re.sub(r"\\\n\s*", "", text).splitlines()


def settings(path: Path, key: str) -> list[str]:
    return [line.partition("=")[2] for line in joined(path) if line.startswith(f"{key}=")]


def variables(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in settings(path, "Environment"):
        for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line):
            name, _, value = (quoted or plain).partition("=")
            found[name] = value
    return found


def check_options(words: Sequence[str]) -> set[str]:
    """The options among the words, each of which serve must have."""
    options = {word[2:] for word in words if word.startswith("--")}
    assert options <= set(VERBS["serve"].names)
    return options


def test_all_files_are_looked_at() -> None:
    assert [path.name for path in (*DROP_INS, *DOCKERFILES)] == [
        "jetson.conf",
        "tls.conf",
        "Dockerfile.cpu",
        "Dockerfile.jetson",
    ]


def test_unit_starts_serve_with_its_options() -> None:
    (command,) = settings(UNIT, "ExecStart")
    program, verb, *words = command.split()
    assert (program, verb) == ("/opt/etscnet-edge/venv/bin/etscnet-edge", "serve")
    said = variables(UNIT)
    used = set(re.findall(r"\$([A-Z]+)\b", command))
    assert used == {"LISTEN", "RUNTIME", "LIMITS", "TLS"} <= set(said)
    for name in used:
        words += said[name].split()
    assert {"exports", "token_file", "host", "port", "runtime", "memory_mb", "queue", "body_mb"} <= check_options(words)
    assert said["LISTEN"].startswith("--host 127.0.0.1 ")
    assert said["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("path", DROP_INS, ids=lambda path: path.name)
def test_drop_ins_change_what_the_unit_has(path: Path) -> None:
    said = variables(path)
    assert said
    for name, value in said.items():
        assert name in variables(UNIT) or not value.startswith("--")
        check_options(value.split())
    credentials = {line.partition(":")[0] for line in settings(path, "LoadCredential")}
    paths = re.findall(r"/run/credentials/(\S+)/(\S+)", " ".join(said.values()))
    assert paths == [(UNIT.name, name) for name in sorted(credentials)]


def test_token_and_engines_are_where_the_unit_puts_them() -> None:
    assert "${CREDENTIALS_DIRECTORY}/token " in settings(UNIT, "ExecStart")[0]
    assert [line.partition(":")[0] for line in settings(UNIT, "LoadCredential")] == ["token"]
    (state,) = settings(UNIT, "StateDirectory")
    assert f"--engines /var/lib/{state}" in variables(DEPLOY / "jetson.conf")["RUNTIME"]


def test_the_unit_leaves_the_server_room_and_time() -> None:
    limit = float(re.findall(r"--memory_mb (\d+)", variables(UNIT)["LIMITS"])[0])
    (most,) = settings(UNIT, "MemoryMax")
    assert limit * 1e6 < float(most.removesuffix("G")) * 2**30
    assert settings(UNIT, "TimeoutStopSec") == ["5min"] and settings(UNIT, "KillMode") == ["mixed"]
    assert settings(UNIT, "MemorySwapMax") == ["0"] and settings(UNIT, "LimitCORE") == ["0"]


def test_systemd_knows_every_setting(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    place = tmp_path / "etc/systemd/system"
    drop_ins = place / f"{UNIT.name}.d"
    drop_ins.mkdir(parents=True)
    program = tmp_path / "opt/etscnet-edge/venv/bin/etscnet-edge"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    shutil.copy(UNIT, place)
    for path in DROP_INS:
        shutil.copy(path, drop_ins)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    start = ["systemd-analyze", f"--root={tmp_path}"]
    done = subprocess.run([*start, "verify", UNIT.name], capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "etscnet" in line]) == (0, [])
    options = ["security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", UNIT.name]
    done = subprocess.run([*start, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles(path: Path) -> None:
    lines = [line.split(maxsplit=1) for line in joined(path) if line]
    said = {word: rest for word, rest in lines}  # noqa: C416 the last one of each word
    words = json.loads(said["CMD"])
    assert words[0] == "serve"
    assert {"exports", "host", "port", "token_file"} <= check_options(words)
    assert said["USER"] == "10001:10001"
    assert "ORT_DISABLE_TELEMETRY=1" in said["ENV"]
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)(/[a-z0-9/]+)", said["HEALTHCHECK"])
    assert asked == [(words[words.index("--port") + 1], "/v2/health/ready")] and asked[0][1] in OPEN
    text = path.read_text()
    assert set(re.findall(r"\b(?:aarch64|x86_64)-cp\d+", text)) <= set(TARGETS)
    assert "--no-index" in text and "--require-hashes" in text


def test_readme_names_what_exists() -> None:
    text = (DEPLOY / "README.md").read_text()
    assert set(re.findall(r"\b(?:aarch64|x86_64)-cp\d+", text)) == set(TARGETS)
    named = {
        name for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([\w.-]+)`", cell)
    }
    assert {path.name for path in DEPLOY.iterdir() if path.is_file()} - {"README.md"} <= named


def test_distribution_has_what_is_bundled() -> None:
    said = tomllib.loads((ROOT / "edge/pyproject.toml").read_text())
    assert set(EXTRAS) <= set(said["project"]["optional-dependencies"])
    folders = {path.parent.relative_to(ROOT / "edge") for path in (ROOT / "edge/etscnet_edge").rglob("__init__.py")}
    assert {".".join(folder.parts) for folder in folders} == set(said["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("script", ["deploy/bundle.py", "deploy/aarch64.py", "page/build.py", "demo.py"])
def test_every_script_has_a_help_and_refuses_what_it_does_not_know(script: str) -> None:
    command = [sys.executable, str(ROOT / "edge" / script)]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0 and helped.stdout.startswith(f"usage: python edge/{script}")
    typed_wrong = subprocess.run([*command, "--no_such_option"], capture_output=True, text=True)
    assert typed_wrong.returncode == 2 and typed_wrong.stderr.count("\n") == 1
