"""Cases -> samples: preprocessing cached on disk, augmentation that depends on seed, epoch and case alone, one bad case aside.

A sample is {"case": name, "image": (M, x, y, z) float32, "label": (1,) float32 where known, "seconds": {"load", "preprocess"}},
and where a brain mask was computed "extraction" (how, JSON) and "extraction_faults" (text).
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset, list_data_collate
from monai.data.utils import pickle_hashing
from monai.transforms import Compose, Randomizable
from monai.utils import convert_to_tensor
from tqdm import tqdm

from scripts.errors import CohortError, InputError, RefusedMaskError, UnavailableError
from scripts.fingerprint import describe_case
from scripts.shards import check_shard, own

logger = logging.getLogger(__name__)
Sample = dict[str, Any]


class StudyDataset(Dataset):
    """Map-style data set of studies for training, validation and evaluation.

    Args:
        data: cases (`scripts.cohort`).
        transform: the deterministic preprocessing, case -> {"image": (M, x, y, z), ...}.
        augmentation: random transforms of the sample, or None. It is seeded by (seed, epoch, index), so that a sample is the
            same whatever the number of workers and ranks, and after a resume.
        cache_dir: where preprocessed images are kept, by the content's fingerprint: files (path, size, time of change),
            preprocessing. None keeps nothing.
        seed: of the augmentation.

    Attributes:
        transform_hash: of the preprocessing, its parameters included.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        *,
        augmentation: Callable[[Sample], Sample] | None = None,
        cache_dir: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data, transform)
        self.augmentation, self.seed, self.epoch = augmentation, seed, 0
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.transform_hash = pickle_hashing(transform.transforms)  # not the Compose: it holds a random state

    def set_epoch(self, epoch: int) -> None:
        """The number of the epoch, from 1, which the augmentation depends on."""
        self.epoch = epoch

    def prepare(self, workers: int = 2) -> None:
        """Preprocess and cache every case once, with a progress bar.

        Raises:
            CohortError: cases at fault, all of them listed; the others are cached all the same.
            UnavailableError: something that every case needs is not there.
        """
        if self.cache_dir is None:
            return
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        errors: list[InputError] = []

        def cache(case: Mapping[str, Any]) -> None:
            try:
                if not self._cache_file(case).is_file():
                    self._image(case)
            except UnavailableError:  # what the others need too
                raise
            except InputError as error:
                errors.append(error)

        with ThreadPoolExecutor(workers) as pool:
            list(tqdm(pool.map(cache, self.data), total=len(self.data), desc="preprocessing", disable=None))
        if errors:
            raise CohortError(sorted(errors, key=lambda error: str(error.case)))

    def _transform(self, index: int) -> Sample:
        case = self.data[index]
        sample: Sample = {"case": case["case"], "image": self._image(case)}
        if case.get("label") is not None:
            sample["label"] = torch.tensor([float(case["label"])])
        if self.augmentation is None:
            return sample
        if isinstance(self.augmentation, Randomizable):
            self.augmentation.set_random_state(seed=mix(self.seed, self.epoch, index))
        sample = self.augmentation(sample)
        return {**sample, "image": _plain(sample["image"])}  # a MetaTensor would slow every operation of the network

    def _image(self, case: Mapping[str, Any]) -> torch.Tensor:
        file = self._cache_file(case) if self.cache_dir is not None else None
        if file is not None and file.is_file():
            try:
                cached: torch.Tensor = torch.load(file, weights_only=True, mmap=True)
                return cached.clone()  # the mapped file stays as it is, whatever an augmentation does in place
            except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
                logger.warning("the cached image %s is damaged; it is made again", file)
        try:
            image = _plain(self.transform(dict(case))["image"])
        except RuntimeError as error:  # Compose wraps what its transforms raise
            if isinstance(error.__cause__, InputError):
                raise error.__cause__ from None
            raise
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f"{file.name}.{os.getpid()}.{id(case)}.tmp")
            torch.save(image, temporary)
            os.replace(temporary, file)  # a kill leaves a whole file or none
        return image

    def _cache_file(self, case: Mapping[str, Any]) -> Path:
        fingerprint = hashlib.sha256(self.transform_hash)
        for part in describe_case(case, without=("label", "case")):
            fingerprint.update(part)
        return Path(self.cache_dir or ".") / f"{fingerprint.hexdigest()[:32]}.pt"


def _plain(image: torch.Tensor) -> torch.Tensor:
    """Without MONAI's metadata, which the network does not need and a safe cache can't hold."""
    return convert_to_tensor(image, track_meta=False).contiguous()  # type: ignore[no-any-return]


def mix(*numbers: int) -> int:
    """One well-mixed 32-bit seed from several numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], "little")


class TolerantLoader:
    """Batches of one study for inference: a case at fault is put aside in `failures` with its reason, the others go on.

    A picture of what is wrong, where there is one, is kept in `pictures`, case -> PNG. What every case needs and is not there
    ends the run.

    Args:
        dataset: cases and their preprocessing; only its `data` and `transform` are used, step by step, so that each is timed.
        rank, world_size: which of how many processes this is, each with a share of the cases (`scripts.shards`).
        resume: whether results that an earlier run left, of the same weights, settings and files, are kept.

    Attributes:
        cases: this process's.
        done: the names of those that need not be prepared.

    Raises:
        InputError: rank and world_size are no part of a whole.
    """

    def __init__(self, dataset: StudyDataset, *, rank: int = 0, world_size: int = 1, resume: bool = True) -> None:
        check_shard(rank, world_size)
        self.dataset, self.rank, self.world_size, self.resume = dataset, rank, world_size, resume
        self.cases = own(dataset.data, rank, world_size)
        self.done: set[str] = set()
        self.failures: list[dict[str, str]] = []
        self.pictures: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Sample]:
        self.failures.clear()
        self.pictures.clear()
        todo = [case for case in self.cases if str(case["case"]) not in self.done]
        said = "studies" if self.world_size == 1 else f"studies {self.rank}/{self.world_size}"
        bar = tqdm(todo, desc=said, total=len(self.cases), initial=len(self.cases) - len(todo), disable=None)
        for case in bar:
            sample = self._sample(case)
            if sample is not None:
                yield list_data_collate([sample])

    def _sample(self, case: Mapping[str, Any]) -> Sample | None:
        try:
            return self._timed(case)
        except UnavailableError:
            raise
        except Exception as error:  # whatever goes wrong in one study is that study's failure; the others go on
            self.fail(str(case["case"]), error)
            return None

    def fail(self, case: str, error: Exception) -> None:
        """Put a case aside with its reason."""
        reason = str(error) if isinstance(error, InputError) else f"case {case}: {type(error).__name__}: {error}"
        logger.error("%s", reason)
        self.failures.append({"case": case, "reason": reason})
        if isinstance(error, RefusedMaskError):
            self.pictures[case] = error.picture

    def _timed(self, case: Mapping[str, Any]) -> Sample:
        seconds: dict[str, float] = {}
        data: Any = dict(case)
        for step, transform in enumerate(self.dataset.transform.transforms):
            start = time.perf_counter()
            data = transform(data)
            part = "load" if step == 0 else "preprocess"
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start
        sample: Sample = {"case": case["case"], "image": _plain(data["image"]), "seconds": seconds}
        if case.get("label") is not None:
            sample["label"] = torch.tensor([float(case["label"])])
        sample.update({key: data[key] for key in ("extraction", "extraction_faults") if key in data})
        return sample
