"""The commands in the documents are commands that exist, with options that something reads."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from export.__main__ import VERBS as EXPORT
from federated.__main__ import VERBS as FEDERATED
from scripts.__main__ import VERBS as SCRIPTS
from scripts.command_line.commands import verb_of
from scripts.command_line.parser import parse
from scripts.config import check_ids
from tests.conftest import BUNDLE, ROOT

VERBS = {"scripts": SCRIPTS, "export": EXPORT, "federated": FEDERATED}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", BUNDLE / "docs" / "README.md"]


def commands(document: Path) -> list[list[str]]:
    """The words of every command in the document's `sh` blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def options(words: list[str]) -> dict[str, str]:
    names = [word[2:] for word in words if word.startswith("--")]
    return {name: words[words.index(f"--{name}") + 1] for name in names}


ALL = [
    pytest.param(words, id=f"{file.parent.name}/{' '.join(words)[:60]}")
    for file in DOCUMENTS
    for words in commands(file)
]


def test_the_documents_hold_commands() -> None:
    assert len(ALL) >= 12
    assert ["make", "demo"] in [parameter.values[0] for parameter in ALL]


@pytest.mark.parametrize("words", ALL)
def test_a_documented_command_exists_with_its_options(words: list[str]) -> None:
    if words[:3] == ["python", "-m", "monai.bundle"] and words[3] == "run":
        check_run(words[4], options(words))
    elif words[:2] == ["python", "-m"] and words[2] in VERBS:
        verb = verb_of(VERBS[words[2]], words[3])
        given, _ = parse(verb, " ".join(words[:4]), words[4:])  # names, types, and that nothing is missing
        further = given.keys() - {option.name for option in verb.options}
        assert further <= json.loads((BUNDLE / "configs" / "inference.json").read_text()).keys()
    elif words[0] == "make":
        assert set(words[1:]) <= set(
            re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        )
    elif words[:3] == ["python", "-m", "monai.bundle"]:
        assert words[3] in ("verify_metadata", "verify_net_in_out", "ckpt_export", "onnx_export")
    else:
        assert words in ([".", ".venv/bin/activate"], ["bash", "benchmarks/synthetic.sh"])


def check_run(run_id: str, given: dict[str, str]) -> None:
    files = ast.literal_eval(given["config_file"]) if given["config_file"].startswith("[") else [given["config_file"]]
    parser = ConfigParser()
    folders = (ROOT, BUNDLE)  # the model card's commands run from the bundle's
    parser.read_config([str(next(folder / file for folder in folders if (folder / file).is_file())) for file in files])
    parser.update({name: value for name, value in given.items() if name != "config_file"})
    parser.resolve_macro_and_relative_ids()  # type: ignore[no-untyped-call]
    assert run_id in parser.get()
    check_ids(parser)
