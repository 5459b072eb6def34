"""What the preprocessing graph refuses, and what its file says of itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from export.preprocess_graph import OUTSIDE, parameters, preprocess_model
from scripts.errors import InputError
from tests.export.preprocess_bench import CONFIG, DECLARED, SIZE, session

# What is refused


def changed(step: str, **values: Any) -> list[dict[str, Any]]:
    transforms = copy.deepcopy(DECLARED)
    next(entry for entry in transforms if entry["_target_"].endswith(step)).update(values)
    return transforms


@pytest.mark.parametrize(
    ("step", "values", "found"),
    [
        ("Resized", {"mode": "nearest"}, "Resized has mode = 'nearest'"),
        ("Resized", {"mode": ["trilinear", "nearest"]}, r"Resized has mode = \['trilinear', 'nearest'\]"),
        ("Resized", {"align_corners": True}, "Resized has align_corners = True"),
        ("Resized", {"anti_aliasing": True}, "Resized has anti_aliasing = True"),
        ("Resized", {"size_mode": "longest"}, "Resized has size_mode = 'longest'"),
        ("Resized", {"spatial_size": [64, 64, 33]}, r"spatial_size = \[64, 64, 33\]; expected \[64, 64, 32\]"),
        ("Resized", {"order": 1}, "Resized: got an unexpected keyword argument 'order'"),
        ("ThresholdIntensityd", {"threshold": 10.0}, "ThresholdIntensityd has threshold = 10.0"),
        ("ThresholdIntensityd", {"above": False}, "ThresholdIntensityd has above = False"),
        ("ThresholdIntensityd", {"cval": -1.0}, "ThresholdIntensityd has cval = -1.0"),
        ("ThresholdIntensityd", {"threshold": "@low"}, "ThresholdIntensityd has threshold = '@low'"),
        ("ScaleIntensityd", {"minv": -1.0}, "ScaleIntensityd has minv = -1.0"),
        ("ScaleIntensityd", {"maxv": 255.0}, "ScaleIntensityd has maxv = 255.0"),
        ("ScaleIntensityd", {"factor": 0.1}, "ScaleIntensityd has factor = 0.1"),
        ("ScaleIntensityd", {"_disabled_": True}, "ScaleIntensityd: got an unexpected keyword argument '_disabled_'"),
        ("ScaleIntensityd", {"keys": ["flair"]}, "the steps have different keys"),
        ("ScaleIntensityd", {"_target_": "NormalizeIntensityd"}, "the transform NormalizeIntensityd"),
        ("Orientationd", {"as_closest_canonical": True}, "Orientationd has as_closest_canonical = True"),
        ("ConcatItemsd", {"dim": 1}, "ConcatItemsd has dim = 1"),
    ],
)
def test_what_the_graph_does_not_honour_is_refused(step: str, values: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        preprocess_model(changed(step, **values), spatial_size=SIZE)


def test_a_default_that_is_not_honoured_is_refused() -> None:
    """MONAI's Resized without a mode takes "area"."""
    transforms = changed("Resized")
    del transforms[5]["mode"]
    with pytest.raises(InputError, match=r"Resized has mode = .*area"):
        preprocess_model(transforms, spatial_size=SIZE)


@pytest.mark.parametrize(
    "places",
    [
        (0, 1, 2, 4, 5, 3, 6, 7),  # the mask after resizing
        (0, 1, 3, 2, 4, 5, 6, 7),  # reorientation amid the graph's steps
        (0, 1, 2, 3, 4, 4, 5, 6, 7),  # a step twice
        (0, 1, 2, 3, 4, 5, 7),  # no scaling
        (1, 2, 3, 4, 5, 6, 7),  # no reading
        (0, 1, 2, 3, 4, 5, 6),  # no concatenation
        (),
    ],
)
def test_an_order_that_the_graph_can_not_follow_is_refused(places: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="the steps are"):
        preprocess_model([DECLARED[place] for place in places], spatial_size=SIZE)


@pytest.mark.parametrize("size", [(64, 64), (64, 64, 0), (64, 64, -1), (64, 64, 32.0)])
def test_a_size_that_is_none_is_refused(size: tuple[Any, ...]) -> None:
    with pytest.raises(InputError, match="spatial_size is"):
        preprocess_model(CONFIG, spatial_size=size)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"preprocessing": []}',
        '{"preprocessing": {"_target_": "Compose", "transforms": [], "lazy": true}}',
        '{"preprocessing": {"_target_": "OneOf", "transforms": []}}',
    ],
)
def test_a_file_that_is_no_such_configuration_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "wrong.json").write_text(content)
    with pytest.raises(InputError, match=r"file .*wrong\.json: .*preprocessing"):
        preprocess_model(tmp_path / "wrong.json", spatial_size=SIZE)


# The file


def test_the_model_can_be_read_by_onnx_runtime_1_20() -> None:
    """It knows opset 21 and IR version 10."""
    model = preprocess_model(CONFIG, spatial_size=SIZE)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version <= 10 and model.producer_name and not model.graph.initializer
    assert {node.domain for node in model.graph.node} == {""}


def test_the_interface_is_the_documented_one() -> None:
    made = session(SIZE)
    assert {entry.name: (entry.type, entry.shape) for entry in made.get_inputs()} == {
        "volume": ("tensor(float)", ["x", "y", "z"]),
        "slope": ("tensor(float)", []),
        "intercept": ("tensor(float)", []),
        "mask": ("tensor(bool)", ["x", "y", "z"]),
    }
    assert [(entry.name, entry.type, entry.shape) for entry in made.get_outputs()] == [
        ("image", "tensor(float)", [1, 1, *SIZE])
    ]


def test_the_same_configuration_gives_the_same_bytes_from_its_file_and_its_list() -> None:
    """In another process, too: test_to_onnx."""
    here = preprocess_model(CONFIG, spatial_size=SIZE).SerializeToString()
    assert preprocess_model(CONFIG, spatial_size=SIZE).SerializeToString() == here
    from_list = preprocess_model(DECLARED, spatial_size=SIZE)
    assert from_list.SerializeToString() == here


def test_the_manifest_learns_every_step_and_value() -> None:
    told = parameters(CONFIG, spatial_size=SIZE)
    assert json.loads(json.dumps(told)) == told
    assert told["orientation"] == DECLARED[2]["axcodes"]
    steps = [*told["outside"][:3], *(step["step"] for step in told["inside"]), told["outside"][3]]
    assert steps == [entry["_target_"].rpartition(".")[2] for entry in DECLARED]
    assert len(told["outside"]) == len(OUTSIDE)
    for entry, step in zip(DECLARED[3:7], told["inside"], strict=True):
        plain = {
            key: value for key, value in entry.items() if not key.startswith("_") and not str(value).startswith("@")
        }
        assert plain.items() <= step.items()
    assert told["inside"][2]["spatial_size"] == list(SIZE)
