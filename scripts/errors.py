"""What is said when an input is at fault: which case, which file, what was found, what was expected, what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any


class InputError(ValueError):
    """A fault in the input. No score is produced from such an input.

    Args:
        found: what is wrong, as a fact ("the image has 4 axes").
        expected: what would have been right ("3 axes").
        remedy: what the user can do about it.
        case: the case's identifier, e.g. "sub-01_ses-1"; None where the fault is not one case's.
        file: the file at fault; None where there is none.
    """

    def __init__(
        self, found: str, *, expected: str, remedy: str, case: str | None = None, file: str | Path | None = None
    ) -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        self.case, self.file = case, None if file is None else str(file)
        super().__init__(str(self))

    def __str__(self) -> str:
        where = [f"case {self.case}"] * bool(self.case) + [f"file {self.file}"] * bool(self.file)
        head = f"{', '.join(where)}: {self.found}" if where else self.found
        return f"{head}; expected {self.expected}. {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only arguments survive a worker process's pickle
        return _rebuild, (self.found, self.expected, self.remedy, self.case, self.file)


def _rebuild(found: str, expected: str, remedy: str, case: str | None, file: str | None) -> InputError:
    return InputError(found, expected=expected, remedy=remedy, case=case, file=file)


class UnavailableError(InputError):
    """Something that every case needs is not there, such as a package or weights: a run stops at the first."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_unavailable, (self.found, self.expected, self.remedy)


def _rebuild_unavailable(found: str, expected: str, remedy: str) -> UnavailableError:
    return UnavailableError(found, expected=expected, remedy=remedy)


class RefusedMaskError(InputError):
    """The quality gate refuses a computed brain mask.

    Attributes:
        picture: a PNG of it; empty behind a process's border.
    """

    picture: bytes = b""


class FailedCheckError(InputError):
    """A check ran to its end and found something wrong; made by `failed_check`.

    Attributes:
        data: everything that the check found, as JSON can hold it.
    """

    data: Mapping[str, Any] = MappingProxyType({})

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_failed_check, (self.found, self.expected, self.remedy, self.data, self.file)


def failed_check(
    found: str, *, expected: str, remedy: str, data: Mapping[str, Any], file: str | Path | None = None
) -> FailedCheckError:
    """The error of a check that found something wrong.

    Args:
        found: what is wrong, as of InputError.
        expected: what would have been right.
        remedy: what the user can do about it.
        data: everything that the check found.
        file: the file at fault; None where there is none.
    """
    error = FailedCheckError(found, expected=expected, remedy=remedy, file=file)
    error.data = data
    return error


def _rebuild_failed_check(
    found: str, expected: str, remedy: str, data: Mapping[str, Any], file: str | None
) -> FailedCheckError:
    return failed_check(found, expected=expected, remedy=remedy, data=data, file=file)


class CohortError(ValueError):
    """Several cases of one cohort are at fault: each is listed with its reason."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self.errors = list(errors)
        super().__init__(f"{len(self.errors)} cases are at fault:\n" + "\n".join(f"  {error}" for error in self.errors))

    def __reduce__(self) -> tuple[object, ...]:
        return CohortError, (self.errors,)


def plain_cause(error: BaseException) -> InputError | CohortError | None:
    """The fault in the input behind an error, if that is what it comes from."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError | CohortError):
        cause = cause.__cause__
    return cause


def say_plainly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An excepthook: a fault in the input is said without the traceback through the machinery that met it."""
    cause = plain_cause(error)
    if cause is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {cause}", file=sys.stderr)
