"""The studies' data set: what is cached and when it is made again, seeded augmentation, one bad case aside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandFlipd, RandRotated, Transform

from scripts.dataset import StudyDataset, TolerantLoader
from scripts.errors import CohortError, InputError

CALLS: list[str] = []  # the cases that were preprocessed


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


class Read(Transform):
    """Stands for the preprocessing: a file's number, times `factor`, makes the image."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        CALLS.append(data["case"])
        text = Path(data["flair"]).read_text()
        if text == "bad":
            raise InputError("bad", expected="good", remedy="Mend it.", case=data["case"], file=data["flair"])
        ramp = torch.arange(2 * 8 * 9 * 10, dtype=torch.float32).view(2, 8, 9, 10)
        return {**data, "image": ramp * float(text) * self.factor}


class AddOne(Transform):
    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, "image": data["image"] + 1}


def cases(folder: Path, *texts: str) -> list[dict[str, Any]]:
    made = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.txt"
        path.write_text(text)
        made.append({"case": f"case-{number}", "flair": str(path), "label": number % 2})
    return made


def dataset(data: list[dict[str, Any]], cache_dir: Path | None, **options: Any) -> StudyDataset:
    return StudyDataset(data, Compose([Read(options.pop("factor", 1.0))]), cache_dir=cache_dir, **options)


def test_a_sample(tmp_path: Path) -> None:
    sample = dataset(cases(tmp_path, "1", "2"), None)[1]
    assert sample["case"] == "case-1" and sample["label"].tolist() == [1.0] and sample["label"].dtype == torch.float32
    assert type(sample["image"]) is torch.Tensor and float(sample["image"][0, 0, 0, 1]) == 2.0


def test_a_cached_case_is_not_preprocessed_again(tmp_path: Path) -> None:
    data = cases(tmp_path, "3")
    first = dataset(data, tmp_path / "cache")[0]["image"]
    again = dataset(data, tmp_path / "cache")[0]["image"]  # another run
    assert CALLS == ["case-0"] and torch.equal(first, again)
    again += 1  # an augmentation in place leaves the cache as it is
    assert torch.equal(dataset(data, tmp_path / "cache")[0]["image"], first)


def test_a_changed_file_is_preprocessed_again(tmp_path: Path) -> None:
    data = cases(tmp_path, "3")
    dataset(data, tmp_path / "cache")[0]
    path = Path(data[0]["flair"])
    state = path.stat()
    path.write_text("4")  # as long as before: the time tells
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    image = dataset(data, tmp_path / "cache")[0]["image"]
    assert len(CALLS) == 2 and float(image[0, 0, 0, 1]) == 4.0


def test_changed_preprocessing_is_done_again(tmp_path: Path) -> None:
    data = cases(tmp_path, "3")
    dataset(data, tmp_path / "cache")[0]
    image = dataset(data, tmp_path / "cache", factor=10.0)[0]["image"]
    assert len(CALLS) == 2 and float(image[0, 0, 0, 1]) == 30.0


def test_another_label_or_name_shares_the_cached_image_but_not_the_sample(tmp_path: Path) -> None:
    data = cases(tmp_path, "3")
    dataset(data, tmp_path / "cache")[0]
    sample = dataset([{**data[0], "case": "renamed", "label": 1}], tmp_path / "cache")[0]
    assert CALLS == ["case-0"] and sample["case"] == "renamed" and sample["label"].tolist() == [1.0]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_cache_file_is_made_again(tmp_path: Path, share: float) -> None:
    data = cases(tmp_path, "3")
    expected = dataset(data, tmp_path / "cache")[0]["image"]
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert torch.equal(dataset(data, tmp_path / "cache")[0]["image"], expected)
    assert len(CALLS) == 2 and file.stat().st_size == len(content)


def test_what_a_killed_run_left_half_written_is_not_read(tmp_path: Path) -> None:
    data = cases(tmp_path, "3")
    expected = dataset(data, tmp_path / "cache")[0]["image"]
    (file,) = (tmp_path / "cache").iterdir()
    file.rename(file.with_name(f"{file.name}.123.456.tmp"))
    assert torch.equal(dataset(data, tmp_path / "cache")[0]["image"], expected)
    assert len(CALLS) == 2


def test_preparing_lists_all_bad_cases_and_caches_the_good_ones(tmp_path: Path) -> None:
    data = cases(tmp_path, "1", "bad", "3", "bad")
    prepared = dataset(data, tmp_path / "cache")
    with pytest.raises(CohortError) as caught:
        prepared.prepare()
    assert [error.case for error in caught.value.errors] == ["case-1", "case-3"]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    CALLS.clear()
    assert float(prepared[2]["image"][0, 0, 0, 1]) == 3.0 and CALLS == []


def test_a_bad_case_raises_its_own_error_without_a_cache(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="case case-0"):
        dataset(cases(tmp_path, "bad"), None)[0]


def augmented(folder: Path, *, seed: int = 0, epoch: int = 1) -> StudyDataset:
    """With the augmentation of train.json."""
    angle = 0.2618
    augmentation = Compose(
        [
            RandRotated("image", prob=1.0, range_x=angle, range_y=angle, range_z=angle, padding_mode="zeros"),
            RandFlipd("image", prob=0.5, spatial_axis=0),
        ]
    )
    made = dataset(cases(folder, "1", "2", "3", "4"), None, augmentation=augmentation, seed=seed)
    made.set_epoch(epoch)
    return made


def images(data: StudyDataset, workers: int = 0) -> list[torch.Tensor]:
    loader = DataLoader(data, batch_size=1, num_workers=workers)
    return [torch.as_tensor(batch["image"][0]) for batch in loader]


def equal(ones: list[torch.Tensor], others: list[torch.Tensor]) -> list[bool]:
    return [torch.equal(one, other) for one, other in zip(ones, others, strict=True)]


def test_augmentation_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    expected = images(augmented(tmp_path))
    torch.manual_seed(99)
    assert all(equal(images(augmented(tmp_path)), expected))
    backwards = augmented(tmp_path)
    assert all(torch.equal(torch.as_tensor(backwards[index]["image"]), expected[index]) for index in (3, 1, 2, 0))
    assert not any(equal(images(augmented(tmp_path, epoch=2)), expected))
    assert not any(equal(images(augmented(tmp_path, seed=1)), expected))
    assert not torch.equal(expected[0] * 2, expected[1])  # the second image is twice the first, but turned otherwise


def test_augmentation_is_the_same_in_worker_processes(tmp_path: Path) -> None:
    assert all(equal(images(augmented(tmp_path), workers=2), images(augmented(tmp_path))))


def test_the_tolerant_loader_puts_a_bad_case_aside(tmp_path: Path) -> None:
    data = cases(tmp_path, "1", "bad", "not a number", "4")
    del data[3]["label"]
    loader = TolerantLoader(StudyDataset(data, Compose([Read(), AddOne()])))
    batches = list(loader)
    assert [batch["case"] for batch in batches] == [["case-0"], ["case-3"]]
    assert batches[0]["image"].shape == (1, 2, 8, 9, 10) and float(batches[0]["image"][0, 0, 0, 0, 1]) == 2.0
    assert batches[0]["label"].tolist() == [[0.0]] and "label" not in batches[1]
    assert set(batches[0]["seconds"]) == {"load", "preprocess"}
    assert [failure["case"] for failure in loader.failures] == ["case-1", "case-2"]
    expected = f"case case-1, file {data[1]['flair']}: bad; expected good. Mend it."
    assert loader.failures[0]["reason"] == expected
    assert loader.failures[1]["reason"].startswith("case case-2: ValueError: could not convert")
    list(loader)
    assert len(loader.failures) == 2  # a second run starts anew
