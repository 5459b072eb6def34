"""The page's bundle: built once for the same sources, pinned by hashes, with its licences."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT
from tests.edge.page.browsing import BUILD


def test_a_page_of_the_same_sources_is_not_built_again(built_page: None) -> None:
    index = ROOT / "edge" / "etscnet_edge" / "page" / "index.html"
    before = index.stat().st_mtime_ns
    done = subprocess.run([sys.executable, str(BUILD)], capture_output=True, text=True, env={"PATH": ""}, check=True)
    assert "up to date" in done.stdout and index.stat().st_mtime_ns == before


def test_the_bundle_is_pinned_by_hashes_and_carries_its_licences() -> None:
    lock = json.loads((BUILD.parent / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert "node_modules/@niivue/niivue" in packages
    for entry in packages.values():
        assert entry["resolved"].startswith("https://registry.npmjs.org/") and entry["integrity"].startswith("sha512-")
    licences = (ROOT / "edge" / "etscnet_edge" / "page" / "LICENSES.txt").read_text()
    for name in ("@niivue/niivue", "nifti-reader-js", "gl-matrix", "fflate", "Roboto"):
        assert name in licences
