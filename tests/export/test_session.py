"""A session gives torch's scores from the file alone, in one piece or with its branches side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.lower import Lowering
from export.parts import parted
from export.session import ParallelSession, Session, open_session
from scripts.errors import InputError
from tests.export.test_lower import SIZE, One, lower, small


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((1, 2, *SIZE), dtype=np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(lower(small(), Lowering()), tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def test_branches_side_by_side_say_what_the_whole_graph_says(file: Path, image: np.ndarray) -> None:
    with open_session(file) as whole, open_session(file, parallel=True) as parallel:
        assert type(whole) is Session and type(parallel) is ParallelSession
        assert whole.image_shape == parallel.image_shape == [1, 2, *SIZE]
        for expected, found in zip(whole.run(image), parallel.run(image), strict=True):
            assert found.shape == expected.shape and found.dtype == np.float32
            # The same operations in the same order; only the threads' shares of a sum may differ.
            assert found == pytest.approx(expected, abs=1e-6)


def test_the_order_of_the_branches_is_kept(file: Path, image: np.ndarray) -> None:
    with open_session(file, parallel=True) as session:
        _, both = session.run(image)
        _, first = session.run(np.concatenate([image[:, :1], np.zeros_like(image[:, 1:])], axis=1))
        assert first[0, 0] == both[0, 0] and first[0, 1] != both[0, 1]


def test_one_modality_is_one_branch(tmp_path: Path, image: np.ndarray) -> None:
    onnx.save(lower(small(One), Lowering()), tmp_path / "one.onnx")
    one = np.ascontiguousarray(image[:, :1])
    with open_session(tmp_path / "one.onnx") as whole:
        expected = whole.run(one)
    with open_session(tmp_path / "one.onnx", parallel=True) as parallel:
        assert parallel.run(one)[1] == pytest.approx(expected[1], abs=1e-6)


def test_parts_hold_no_more_than_they_need(file: Path) -> None:
    model = onnx.load(file)
    branches, fusion = parted(model)
    assert len(branches) == 2
    nodes = [len(part.graph.node) for part in (*branches, fusion)]
    shared = 1  # the view of the image as planes
    assert sum(nodes) == len(model.graph.node) + shared
    assert [output.name for output in fusion.graph.output] == ["pred", "branch_scores"]


def test_a_closed_session_says_so(file: Path, image: np.ndarray) -> None:
    for parallel in (False, True):
        session = open_session(file, parallel=parallel)
        session.close()
        with pytest.raises(ValueError, match="closed"):
            session.run(image)


def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 1])
    out = onnx.helper.make_tensor_value_info("branch_scores", onnx.TensorProto.FLOAT, [1, 1])
    node = onnx.helper.make_node("Relu", ["image"], ["branch_scores"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [out])), tmp_path / "other.onnx")
    with pytest.raises(InputError, match="not joined from one a branch"):
        open_session(tmp_path / "other.onnx", parallel=True)
