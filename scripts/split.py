"""Cases -> training, validation and testing part: stratified by label, by subject, seeded, made once.

Unit: what must not be torn apart. A subject with all its sessions, and with it every other subject that has a
byte-identical image (the same scan filed under two names would otherwise be learned in one part and tested in another).
A scan that was compressed or converted anew is not byte-identical and not found.

Rounding, all in whole subjects and exact fractions:
    1. Sizes of the parts: largest remainders (Hamilton's method) of n * fraction; equal remainders favour the larger
       fraction. 95 * (0.7, 0.1, 0.2) = (66.5, 9.5, 19) -> 67, 9, 19.
    2. Controlled in each part: largest remainders of n_controlled * size / n; the uncontrolled are the rest of each.
       Both margins hold, and every cell is its expectation rounded down or up (controlled rounding: Cox LH, J Am Stat
       Assoc 1987;82:520). 39 of 95: (27.5, 3.7, 7.8) -> 27, 4, 8, which leaves 40, 5, 11: the paper's split.

Order: subjects are shuffled by the SHA-256 of seed and name, not by a generator: the same seed gives the same split
with every version of Python and NumPy, whatever the order of the cases.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from scripts.bids import OUTCOMES, SUFFIXES, Case
from scripts.errors import InputError

PARTS = ("training", "validation", "testing")
Split = dict[str, list[Case]]


@dataclass(frozen=True)
class _Unit:
    """Subjects that stay together, and their cases."""

    name: str
    label: int
    subjects: frozenset[str]
    cases: tuple[Case, ...]


def split(cases: Sequence[Case], *, fractions: Sequence[float] = (0.7, 0.1, 0.2), seed: int = 0) -> Split:
    """One stratified split.

    Args:
        cases: as of `scripts.bids.find_cases`. Cases without a label are left out, with a warning.
        fractions: of training, validation and testing, with sum 1; or whole numbers of subjects whose sum is the number
            of labelled subjects. 0 leaves a part empty (an external test cohort: 0, 0, 1).
        seed: another seed, another split.

    Raises:
        InputError: the fractions fit neither reading, a part lacks a class, a case's name is there twice, or one scan
            has two labels.
    """
    units = _units(cases)
    n = sum(len(unit.subjects) for unit in units)
    parts = _assign(units, _sizes(fractions, n), salt=f"{seed}")
    return {name: _checked(part, name, size) for name, part, size in zip(PARTS, parts, fractions, strict=True)}


def k_fold(cases: Sequence[Case], *, folds: int = 5, seed: int = 0, validation_fraction: float = 0.1) -> list[Split]:
    """Stratified k-fold: every labelled case is in exactly one testing part.

    Args:
        folds: their number, 2 or more.
        validation_fraction: the validation part as a share of *all* subjects (5 folds with 0.1 are 7:1:2 in each).

    Raises:
        InputError: as of `split`.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise InputError(f"folds is {folds!r}", expected="a whole number, 2 or more", remedy="Give 5, for instance.")
    whole = Fraction(folds - 1, folds)
    if not 0 < validation_fraction < whole:
        raise InputError(
            f"validation_fraction is {validation_fraction}",
            expected=f"a share of all subjects, above 0 and below {float(whole):.3f}",
            remedy="Give 0.1, for instance.",
        )
    share = Fraction(str(validation_fraction))
    units = _units(cases)
    n = sum(len(unit.subjects) for unit in units)
    testing = _assign(units, _largest_remainder([Fraction(1, folds)] * folds, n), salt=f"{seed}")
    splits = []
    for number, test in enumerate(testing, start=1):
        rest = [unit for unit in units if unit not in test]
        sizes = _largest_remainder([(whole - share) / whole, share / whole], sum(len(unit.subjects) for unit in rest))
        training, validation = _assign(rest, sizes, salt=f"{seed} fold {number}")
        parts = zip(PARTS, (training, validation, test), strict=True)
        splits.append({name: _checked(part, name, 1) for name, part in parts})
    return splits


def count(cases: Sequence[Case]) -> dict[int, int]:
    """Number of subjects by label: {1: controlled, 0: uncontrolled}."""
    labels = Counter(label for _, label in {(case["subject"], case["label"]) for case in cases})
    return {1: labels[1], 0: labels[0]}


def check_fractions(fractions: Sequence[float]) -> list[float]:
    """Three finite numbers, none negative; whether they are shares or whole numbers of subjects is `split`'s to say.

    Raises:
        InputError: other than three, or not such numbers.
    """
    numbers = list(fractions) if isinstance(fractions, list | tuple) else []
    valid = (isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x < math.inf for x in numbers)
    if len(numbers) != len(PARTS) or not all(valid):
        raise InputError(
            f"fractions is {fractions!r}",
            expected="three numbers, none negative: training, validation, testing",
            remedy="Give [0.7, 0.1, 0.2], for instance.",
        )
    return numbers


def _sizes(fractions: Sequence[float], n: int) -> list[int]:
    numbers = check_fractions(fractions)
    if all(float(x).is_integer() for x in numbers) and sum(numbers) == n:
        return [int(x) for x in numbers]
    if abs(sum(numbers) - 1) > 1e-6:  # 1/3 written with seven digits or more passes
        raise InputError(
            f"fractions is {fractions!r}, with sum {sum(numbers)}",
            expected=f"sum 1, or whole numbers with sum {n}, the number of labelled subjects",
            remedy="Give [0.7, 0.1, 0.2], for instance: training, validation, testing.",
        )
    # By way of the decimal text: 0.7 is seven tenths here, not the binary number next to it.
    exact = [Fraction(str(x)) for x in numbers]
    return _largest_remainder([x / sum(exact) for x in exact], n)


def _largest_remainder(shares: Sequence[Fraction], n: int) -> list[int]:
    """Whole numbers with sum n, each n · share rounded down or up. Shares have sum 1."""
    exact = [share * n for share in shares]
    whole = [int(x) for x in exact]
    first = sorted(range(len(shares)), key=lambda i: (whole[i] - exact[i], -shares[i], i))
    for i in first[: n - sum(whole)]:
        whole[i] += 1
    return whole


def _assign(units: Sequence[_Unit], sizes: Sequence[int], *, salt: str) -> list[list[_Unit]]:
    """Units to parts of the given sizes (in subjects), each class by itself."""
    n = sum(sizes)
    total = Counter({1: 0, 0: 0})
    for unit in units:
        total[unit.label] += len(unit.subjects)
    controlled = _largest_remainder([Fraction(size, max(n, 1)) for size in sizes], total[1])
    room = {1: controlled, 0: [size - part for size, part in zip(sizes, controlled, strict=True)]}
    parts: list[list[_Unit]] = [[] for _ in sizes]
    # Units of several subjects first, to the part with most room; single ones then fill every part to its size.
    for unit in sorted(units, key=lambda unit: (-len(unit.subjects), _digest(f"{salt}:{unit.name}"), unit.name)):
        left = room[unit.label]
        roomiest = max(range(len(left)), key=lambda i: (left[i], -i))
        chosen = roomiest if len(unit.subjects) > 1 else next(i for i, space in enumerate(left) if space > 0)
        left[chosen] -= len(unit.subjects)
        parts[chosen].append(unit)
    return parts


def _checked(units: Sequence[_Unit], name: str, size: float) -> list[Case]:
    """The part's cases, sorted; a part that is to hold cases needs both classes: AUC and threshold need them."""
    present = {unit.label for unit in units}
    missing = [outcome for outcome, label in OUTCOMES.items() if label is not None and label not in present]
    if size and missing:
        raise InputError(
            f"the {name} part has {sum(len(unit.subjects) for unit in units)} subjects, none {' or '.join(missing)}",
            expected="controlled and uncontrolled subjects in every part",
            remedy="Give that part more subjects by `fractions` (k-fold: fewer folds, or a larger validation_fraction),"
            " add subjects, or give it 0 to leave it empty.",
        )
    return sorted((case for unit in units for case in unit.cases), key=lambda case: str(case["case"]))


def _units(cases: Sequence[Case]) -> list[_Unit]:
    for name, times in Counter(str(case["case"]) for case in cases).items():
        if times > 1:
            raise InputError("the name is there twice", expected="one case a name", remedy="Rename one.", case=name)
    labelled = [case for case in cases if case.get("label") is not None]
    if len(labelled) < len(cases):
        left_out = sorted(str(case["case"]) for case in cases if case.get("label") is None)
        warnings.warn(f"{len(left_out)} cases without a label are left out: {', '.join(left_out)}", stacklevel=3)
    subjects = defaultdict(list)
    for case in labelled:
        subjects[str(case["subject"])].append(case)

    units = []
    for group in _same_scan(subjects):
        members = [case for subject in sorted(group) for case in subjects[subject]]
        labels = {case["label"] for case in members}
        if len(labels) > 1 or not labels <= {0, 1}:
            names, same = ", ".join(sorted(group)), " (which have a byte-identical image)" if len(group) > 1 else ""
            raise InputError(
                f"{names}{same}: the labels are {sorted(labels, key=str)}",
                expected="one label, 0 or 1, for one child",
                remedy="Correct the outcome, or remove the copy.",
            )
        units.append(_Unit(min(group), int(labels.pop()), frozenset(group), tuple(members)))
    return units


def _same_scan(subjects: dict[str, list[Case]]) -> list[set[str]]:
    """Groups of subjects that are linked by byte-identical images; most have one member."""
    by_size = defaultdict(set)
    for subject, cases in subjects.items():
        for path in {Path(str(case[key])) for case in cases for key in SUFFIXES if key in case}:
            # An image that is missing or empty is no evidence of anything; the run will report it.
            if path.is_file() and path.stat().st_size > 0:
                by_size[path.stat().st_size].add((subject, path))
    owners = defaultdict(set)
    for same_size in by_size.values():
        if len({subject for subject, _ in same_size}) > 1:  # only these are worth the reading
            for subject, path in same_size:
                with path.open("rb") as stream:
                    owners[hashlib.file_digest(stream, "sha256").digest()].add(subject)
    groups: list[set[str]] = [{subject} for subject in sorted(subjects)]
    for linked in owners.values():
        if len(linked) > 1:
            names = ", ".join(sorted(linked))
            warnings.warn(f"{names} have a byte-identical image: they are kept in one part", stacklevel=4)
            joined = [group for group in groups if group & linked]
            groups = [group for group in groups if not group & linked] + [set().union(*joined)]
    return sorted(groups, key=min)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
