"""The studies that the bundle refuses are refused without torch too, in the same words; the good ones are scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from etscnet_edge import nifti
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.study import SAMPLE

import scripts.checks
import scripts.nifti
from tests.broken_studies import AT_FLAIR, FAULTS, GOOD, write_studies

MODALITIES = ("flair", "t2w")
# What only the bundle has: entries of a datalist that lack a file, or name a method.
NOT_HERE = {"no-t2w", "mask-missing", "method-unknown"}
Entries = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Entries:
    return write_studies(tmp_path_factory.mktemp("edge-faults"))


@pytest.fixture(scope="module")
def classifier(exports: Path) -> Iterator[Classifier]:
    with Classifier(exports, form="standard", threads=1) as opened:
        yield opened


def files(entry: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    masks = {name: entry[f"{name}_mask"] for name in MODALITIES if f"{name}_mask" in entry}
    return {name: entry[name] for name in MODALITIES}, masks


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in NOT_HERE])
def test_a_broken_study_is_refused_in_the_bundles_words(classifier: Classifier, entries: Entries, name: str) -> None:
    images, masks = files(entries[name])
    with pytest.raises(InputError) as caught:
        classifier.predict(images, masks)
    said, words = str(caught.value), FAULTS[name][1]
    # A mask's grid is the one thing whose name stands in the file's.
    words = words.removeprefix("flair_mask: ").replace("the t2w path", "the path")
    assert words.replace("there is no t2w file", "there is no such file") in said
    assert "; expected " in said and said.endswith(".")
    key = "flair" if name in AT_FLAIR else "flair_mask" if name.startswith("mask") else "t2w"
    assert f"file {entries[name][key]}" in said


@pytest.mark.parametrize("name", GOOD)
def test_a_good_study_is_scored(classifier: Classifier, entries: Entries, name: str) -> None:
    assert 0 < classifier.predict(*files(entries[name])).score < 1


def test_a_modality_that_is_missing_is_said(classifier: Classifier, entries: Entries) -> None:
    images, _ = files(entries["good"])
    with pytest.raises(InputError, match=r"images of \['flair'\]; expected one of each of \['flair', 't2w'\]"):
        classifier.predict({"flair": images["flair"]})
    with pytest.raises(InputError, match=r"masks of \['flair'\]"):
        classifier.predict(images, {"flair": images["flair"]})


def test_both_readers_have_the_same_limits() -> None:
    assert (nifti.MAX_HEADER, nifti.MAX_TAIL) == (scripts.nifti.MAX_HEADER, scripts.nifti.MAX_TAIL)
    assert SAMPLE == scripts.checks.SAMPLE
