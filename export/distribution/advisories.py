"""Known vulnerabilities of the dependencies, by advisories that the user brings: no network is asked.

Advisories are JSON in OSV's schema (https://ossf.github.io/osv-schema/), in a folder or a zip, such as OSV's export of the
ecosystem PyPI (all.zip) or the Python Packaging Advisory Database. What counts as affected is the schema's own rule: a version
is, that stands in `versions` or lies in a range of the type ECOSYSTEM; withdrawn advisories don't count. Without advisories
nothing is checked, and the result says so.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version
from tqdm import tqdm

from export.distribution.dependencies import closure, requirements
from export.distribution.layout import CHECKOUT
from export.distribution.metadata import normal
from scripts.answer import Answer
from scripts.errors import InputError, failed_check
from scripts.files import write_atomically

NOT_CHECKED = "not checked: no advisories were given (--advisories)"
EVENTS = ("introduced", "fixed", "last_affected")
_Event = tuple[Version, int, str]


@dataclass(frozen=True)
class Vulnerability:
    """An advisory that speaks of an installed version.

    Attributes:
        package: its name in normal form.
        version: as it is installed.
        advisory: the advisory's id.
        aliases: its other ids, such as CVE's.
        fixed_in: versions that its ranges name as repaired.
        summary: its first line.
    """

    package: str
    version: str
    advisory: str
    aliases: tuple[str, ...]
    fixed_in: tuple[str, ...]
    summary: str

    def row(self) -> str:
        """Of a Markdown table."""
        ids = " ".join((self.advisory, *self.aliases))
        return f"| {self.package} | {self.version} | {ids} | {', '.join(self.fixed_in)} | {self.summary} |"


@dataclass(frozen=True)
class Audit:
    """What the advisories say of a set of packages.

    Attributes:
        checked: whether there were advisories.
        packages: how many were looked up.
        advisories: how many were read, withdrawn ones not among them.
        newest: when the newest of them was modified: how old the knowledge is.
        found: vulnerabilities.
    """

    checked: bool
    packages: int
    advisories: int = 0
    newest: str = ""
    found: tuple[Vulnerability, ...] = field(default=())

    def __bool__(self) -> bool:
        """Checked, and nothing found."""
        return self.checked and not self.found

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "found": [asdict(one) for one in self.found]}

    def summary(self) -> str:
        """In a sentence or a table."""
        if not self.checked:
            return f"vulnerabilities: {NOT_CHECKED}"
        head = f"{self.packages} packages by {self.advisories} advisories, the newest of {self.newest}"
        if not self.found:
            return f"vulnerabilities: none is known of {head}"
        lines = [
            "| package | version | advisory | fixed in | summary |",
            "|---|---|---|---|---|",
            *map(Vulnerability.row, self.found),
        ]
        return "\n".join([f"{len(self.found)} vulnerabilities of {head}", *lines])


def audit(packages: Mapping[str, str], advisories: str | Path | None) -> Audit:
    """Look packages up.

    Args:
        packages: name in normal form -> version.
        advisories: a folder or a zip of OSV's JSON; None: nothing is checked.

    Raises:
        InputError: no advisories there, or one that is none.
    """
    if advisories is None:
        return Audit(checked=False, packages=len(packages))
    count, newest, found = 0, "", []
    for name, text in tqdm(_texts(Path(advisories)), desc="advisories", disable=None):
        try:
            advisory = json.loads(text)
            if advisory.get("withdrawn"):
                continue
            count, newest = count + 1, max(newest, str(advisory["modified"]))
            found += list(_matches(advisory, packages))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            expected = "an advisory in OSV's schema"
            raise InputError(
                f"{type(error).__name__}: {error}", expected=expected, remedy="Leave the file out.", file=name
            ) from error
    if not count:
        remedy = "Give a folder or a zip with OSV's JSON."
        raise InputError("no advisory", expected="at least one", remedy=remedy, file=advisories)
    ordered = sorted(set(found), key=lambda one: (one.package, one.advisory))
    return Audit(True, len(packages), count, newest, tuple(ordered))


def audit_dependencies(
    advisories: str | Path, *, output: str | Path | None = None, checkout: str | Path = CHECKOUT
) -> Answer:
    """Look up what bundle and edge package stand on in advisories of known vulnerabilities.

    Args:
        advisories: a folder or a zip of OSV's JSON, such as its export of PyPI.
        output: a JSON file for the result, too.
        checkout: folder that holds `pyproject.toml` and `edge`; by default this one.

    Example:
        python -m export audit --advisories osv-pypi.zip

    Returns:
        What was looked up.

    Raises:
        FailedCheckError: a vulnerability is known; the table is in the message.
        InputError: no advisories there.
    """
    packages = installed(checkout)
    result = audit(packages, advisories)
    if output is not None:
        write_atomically(output, json.dumps(result.to_dict(), indent=2) + "\n")
    if not result:
        remedy = "Bring the packages up to date in constraints.txt, or say why they can't harm here."
        raise failed_check(result.summary(), expected="no known vulnerability", remedy=remedy, data=result.to_dict())
    return Answer(result.summary(), result.to_dict())


def installed(checkout: str | Path = CHECKOUT) -> dict[str, str]:
    """Name -> version of all that bundle and edge package stand on."""
    return {one.name: one.version for required in requirements(checkout).values() for one in closure(required)}


def _texts(place: Path) -> Iterator[tuple[str, bytes]]:
    if place.is_dir():
        for file in sorted(place.rglob("*.json")):
            yield str(file), file.read_bytes()
    elif place.is_file() and zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as opened:
            for name in sorted(opened.namelist()):
                if name.endswith(".json"):
                    yield f"{place}/{name}", opened.read(name)
    else:
        raise InputError("no folder and no zip", expected="OSV's JSON", remedy="Correct --advisories.", file=place)


def _matches(advisory: Mapping[str, Any], packages: Mapping[str, str]) -> Iterator[Vulnerability]:
    for affected in advisory.get("affected", []):
        package = affected.get("package", {})
        name = normal(str(package.get("name", "")))
        if package.get("ecosystem") != "PyPI" or name not in packages:
            continue
        ranges = [one for one in affected.get("ranges", []) if one.get("type") == "ECOSYSTEM"]
        if is_affected(packages[name], versions=affected.get("versions", []), ranges=ranges):
            fixed = [event["fixed"] for one in ranges for event in one["events"] if "fixed" in event]
            aliases = tuple(sorted(str(alias) for alias in advisory.get("aliases", [])))
            said = str(advisory.get("summary") or advisory.get("details", "")).strip().splitlines()
            summary = said[0][:120] if said else ""
            yield Vulnerability(name, packages[name], str(advisory["id"]), aliases, tuple(fixed), summary)


def is_affected(version: str, *, versions: Sequence[str], ranges: Iterable[Mapping[str, Any]]) -> bool:
    """OSV's rule: among `versions`, or in a range, whose events are gone through from the oldest to the newest.

    Args:
        version: as it is installed; a local part (`+cpu`) does not count.
        versions: those that the advisory lists.
        ranges: of the type ECOSYSTEM, each with "events".
    """
    mine = Version(Version(version).public)
    if any(mine == other for other in map(_version, versions) if other is not None):
        return True
    for one in ranges:
        vulnerable = False
        for at, _, kind in sorted(_events(one["events"])):
            if kind == "last_affected":
                vulnerable = vulnerable and not mine > at
            elif mine >= at:
                vulnerable = kind == "introduced"
        if vulnerable:
            return True
    return False


def _events(events: Iterable[Mapping[str, str]]) -> Iterator[_Event]:
    for event in events:
        for order, kind in enumerate(EVENTS):
            if kind in event:
                text = event[kind]
                yield Version("0.dev0" if text == "0" and kind == "introduced" else text), order, kind


def _version(text: str) -> Version | None:
    """None for what is no version by PEP 440: an advisory may list such."""
    try:
        return Version(text)
    except InvalidVersion:
        return None
