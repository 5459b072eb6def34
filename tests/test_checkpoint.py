"""Files of weights: whole or not at all, no code from them is run, and every doubtful one is refused with a reason."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scripts.checkpoint import (
    SYNTHETIC,
    UNKNOWN_ORIGIN,
    load_model,
    model_version,
    origin_warning,
    provenance,
    save,
)
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.network import ETSCNet
from scripts.release import halve, write_origin

SIZE = (16, 16, 16)


def backbone() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 1))


def network(*modalities: str, seed: int = 0) -> ETSCNet:
    torch.manual_seed(seed)
    return ETSCNet(modalities or ("flair", "t2w"), backbone)


def trained() -> ETSCNet:
    """With fusion weights, threshold, size and batch-norm statistics of its own."""
    made = network()
    made.fusion_weights.copy_(torch.tensor([0.3, 0.7]))
    made.threshold.copy_(torch.tensor(0.4))
    made.spatial_size.copy_(torch.tensor(SIZE))
    made(torch.rand(4, 2, *SIZE))
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(trained().state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def load(path: Path, into: ETSCNet | None = None, spatial_size: tuple[int, ...] = SIZE) -> ETSCNet:
    return load_model(into or network(seed=1), path, spatial_size=spatial_size, device="cpu")


# Writing


@pytest.mark.parametrize("write", [write_atomically, lambda path, text: save({"a": torch.ones(3)}, path)])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "new" / "file"
    write(path, "first")
    before = path.read_bytes()
    seen = []

    def power_cut(source: Any, target: Any) -> None:
        seen.append((Path(source).stat().st_size > 0, Path(target).read_bytes() == before))
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        write(path, "second")
    assert seen == [(True, True)] and path.read_bytes() == before


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    for content in ("first", b"second"):
        write_atomically(tmp_path / "file", content)
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "second"


# Loading


def test_loading_gives_the_trained_network_in_evaluation_mode(model: Path) -> None:
    loaded, image = load(model), torch.rand(1, 2, *SIZE)
    assert not loaded.training
    assert torch.equal(loaded(image), trained().eval()(image))


def nothing(path: Path) -> None:
    path.unlink()


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def training_state(path: Path) -> None:
    save({"epoch": 3, "network": trained().state_dict(), "history": []}, path)


def list_of_tensors(path: Path) -> None:
    torch.save([torch.ones(2)], path)


def numbered(path: Path) -> None:
    torch.save({1: torch.ones(2)}, path)


def other_modalities(path: Path) -> None:
    save(network("t1w", "t2w").state_dict(), path)


def third_modality(path: Path) -> None:
    save(network("flair", "t2w", "t1w").state_dict(), path)


def other_shapes(path: Path) -> None:
    save({**trained().state_dict(), "branches.flair.4.weight": torch.ones(1, 5)}, path)


def not_a_number(path: Path) -> None:
    state = trained().state_dict()
    state["branches.flair.0.weight"][0, 0, 0, 0, 0] = float("nan")
    save(state, path)


REFUSALS: dict[Callable[[Path], None], str] = {
    nothing: "no weights; expected",
    random_bytes: "not weights",
    cut_short: "not weights",
    training_state: "no flat dictionary of tensors; expected a state dict. Give model.pt; checkpoint.pt is",
    list_of_tensors: "no flat dictionary of tensors",
    numbered: "no flat dictionary of tensors",
    other_modalities: r"another network \(modalities \['t1w', 't2w'\].*expected modalities \['flair', 't2w'\]",
    third_modality: r"another network \(modalities \['flair', 't1w', 't2w'\]",
    other_shapes: "another network",
    not_a_number: "weights that are NaN or infinite",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_doubtful_weights_are_refused_and_the_network_stays_as_it_is(
    model: Path, fault: Callable[[Path], None]
) -> None:
    fault(model)
    into = network(seed=1)
    before = {name: value.clone() for name, value in into.state_dict().items()}
    with pytest.raises(InputError, match=REFUSALS[fault]) as caught:
        load(model, into)
    assert caught.value.file == str(model)
    assert all(torch.equal(value, before[name]) for name, value in into.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x02.", b"garbage", b"PK\x03\x04"])
def test_garbage_of_any_kind_is_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="not weights"):
        load(tmp_path / "model.pt")


class Attack:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path, new_format: bool) -> None:
    content = {"weight": Attack(tmp_path / "owned")}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(InputError, match="not weights"):
        load(tmp_path / "model.pt")
    assert not (tmp_path / "owned").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "owned").exists()  # so the attack is a real one


def test_weights_for_images_of_another_size_are_refused(model: Path) -> None:
    with pytest.raises(InputError, match=r"trained on images of \(16, 16, 16\) voxels.*\(16, 16, 8\)"):
        load(model, spatial_size=(16, 16, 8))


# Half precision


def test_halved_weights_load_as_a_float32_network(model: Path) -> None:
    write_origin(model, {"data": {"synthetic": True}})
    said = halve(str(model), str(model.with_name("half.pt")))
    stored = torch.load(model.with_name("half.pt"), weights_only=True)
    assert {name for name, value in stored.items() if value.dtype == torch.float16} == {
        f"branches.{modality}.{layer}.weight" for modality in ("flair", "t2w") for layer in (0, 4)
    }
    loaded, original = load(model.with_name("half.pt")), trained().state_dict()
    for name, value in loaded.state_dict().items():
        assert value.dtype == original[name].dtype
        # Half precision keeps 11 binary digits; what is not stored in it must come back bit by bit.
        tolerance = 2**-11 if stored[name].dtype == torch.float16 else 0
        assert torch.allclose(value.double(), original[name].double(), rtol=tolerance, atol=1e-7 * bool(tolerance))
    assert "MiB" in said and origin_warning(model.with_name("half.pt")) == SYNTHETIC


def test_weights_of_unknown_origin_are_not_halved(model: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json does not speak of these weights"):
        halve(str(model), str(model.with_name("half.pt")))
    assert not model.with_name("half.pt").exists()


# Origin


def test_the_origin_is_bound_to_the_file_by_its_hash(model: Path) -> None:
    assert provenance(model) == {} and origin_warning(model) == UNKNOWN_ORIGIN
    write_origin(model, {"data": {"synthetic": True}, "epochs": 3})
    assert provenance(model)["epochs"] == 3 and provenance(model)["sha256"] == sha256(model)
    assert origin_warning(model) == SYNTHETIC

    save(network(seed=5).state_dict(), model)  # other weights beside the same model.json
    assert provenance(model) == {} and origin_warning(model) == UNKNOWN_ORIGIN


def test_weights_from_real_images_need_no_warning(model: Path) -> None:
    write_origin(model, {"data": {"synthetic": False}})
    assert origin_warning(model) is None


def test_an_origin_that_is_no_json_is_a_fault(model: Path) -> None:
    model.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        provenance(model)
    model.with_suffix(".json").write_text(json.dumps(["a list"]))
    assert provenance(model) == {}


def test_the_version_names_the_weights(model: Path) -> None:
    assert model_version(model, "0.1.0") == f"0.1.0+{sha256(model)[:8]}"
