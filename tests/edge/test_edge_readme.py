"""The commands in the edge package's documents exist, with the options that they are shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from etscnet_edge.classifier import Classifier
from etscnet_edge.server.access import Access
from etscnet_edge.server.app import make_app
from etscnet_edge.server.body import BodyLimits
from etscnet_edge.server.service import Service
from etscnet_edge.verbs import VERBS

from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "edge" / "README.md", ROOT / "edge" / "deploy" / "README.md"]
README = (ROOT / "edge" / "README.md").read_text()


def commands(document: Path) -> list[list[str]]:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", document.read_text(), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines if "etscnet-edge " in line]
    return [words for words in split if words[0].endswith("etscnet-edge")]


ALL = [pytest.param(words, id=" ".join(words)[-50:]) for file in DOCUMENTS for words in commands(file)]


@pytest.mark.parametrize("words", ALL)
def test_a_command_of_the_documents_exists(words: list[str]) -> None:
    verb, *rest = words[1:]
    options = {word[2:] for word in rest if word.startswith("--")}
    assert verb in VERBS and options <= set(VERBS[verb].names)
    VERBS[verb].read(rest)


def test_every_verb_and_option_of_its_table_is_described() -> None:
    assert {verb for verb in VERBS if f"## `{verb}`" in README} == set(VERBS)
    told = set(re.findall(r"`--(\w+)", README))
    known = {name for options in VERBS.values() for name in options.names}
    assert told <= known
    assert {"flair_mask", "t2w_mask", "runtime", "form", "memory_mb", "threads", "output", "picture"} <= told


def test_every_path_that_it_lists_is_served() -> None:
    service = Service(lambda: Classifier("exports"), waiting=1, failed=print)  # it is not started
    app = make_app(service, limits=BodyLimits(1, 1), access=Access(None, any_host=False))
    served = {getattr(route, "path", "") for route in app.routes}
    listed = re.findall(r"^\| (.*?) \|", README[README.index("| path |") :], flags=re.MULTILINE)
    paths = {path for cell in listed for path in re.findall(r"`(?:POST )?(/[\w/]*)`", cell)}
    assert len(paths) >= 8 and paths <= served
