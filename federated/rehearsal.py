"""Sites of the simulator. On request they misbehave, so that a federation can be rehearsed: SITE:KIND@ROUND, or
SITE:KIND@FIRST-LAST.

nan: its update holds NaN; huge: infinite values; shape: a weight of another shape; cases: it says ten times its children;
late: it answers a round only after the server has given it up; fault: its training breaks down; gone: its process ends.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.fl_context import FLContext

from federated.executor import SiteExecutor
from federated.faults import SiteFault
from scripts.errors import InputError

KINDS = ("nan", "huge", "shape", "cases", "late", "fault", "gone")
EXECUTOR = "federated.rehearsal.SimulatedExecutor"
LATE_BY_S = 3.0  # after the server's patience


def parsed(faults: Sequence[str], sites: Sequence[str]) -> dict[str, dict[str, str]]:
    """Site -> round -> kind.

    Raises:
        InputError: another form, kind or site.
    """
    found: dict[str, dict[str, str]] = {}
    for fault in faults:
        match = re.fullmatch(r"([\w.-]+):(\w+)@(\d+)(?:-(\d+))?", str(fault))
        if match is None or match[1] not in sites or match[2] not in KINDS:
            raise InputError(
                f"fault {fault!r}",
                expected=f"SITE:KIND@ROUND, of {', '.join(sites)} and {', '.join(KINDS)}",
                remedy="Correct --rehearse.",
            )
        for round_ in range(int(match[3]), int(match[4] or match[3]) + 1):
            found.setdefault(match[1], {})[str(round_)] = match[2]
    return found


class SimulatedExecutor(SiteExecutor):
    """A site whose places the job says, which real sites allow no job, and that answers "train" wrongly in some rounds.

    Args:
        site_file, work_dir: as of `SiteExecutor.places`, in them {site} for the site's name.
        faults: as of `parsed`.
    """

    def __init__(self, site_file: str, work_dir: str, faults: Mapping[str, Mapping[str, str]] | None = None) -> None:
        super().__init__()
        self._site_file, self._work_dir, self._faults = site_file, work_dir, dict(faults or {})

    def places(self, fl_ctx: FLContext) -> tuple[Path, Path]:
        """As the job says."""
        name = fl_ctx.get_identity_name()
        return Path(self._site_file.format(site=name)), Path(self._work_dir.format(site=name))

    def work(self, task: str, weights: dict[str, Any], numbers: dict[str, Any], fl_ctx: FLContext) -> dict[str, Any]:
        """The site's answer, spoilt in the rounds that were asked for.

        Raises:
            SiteFault: where that is the fault that was asked for, and those of the site itself.
        """
        kind = (
            self._faults.get(fl_ctx.get_identity_name(), {}).get(str(numbers.get("round"))) if task == "train" else None
        )
        if kind == "gone":
            os._exit(1)
        if kind == "fault":
            raise SiteFault("it broke down on purpose")
        if kind == "late":
            time.sleep(numbers["plan"]["round_timeout_s"] + LATE_BY_S)
        answer = super().work(task, weights, numbers, fl_ctx)
        return spoilt(answer, kind) if kind else answer


def spoilt(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    """A copy of an answer to "train" with the fault."""
    update = dict(answer["update"])
    first = next(iter(update))
    if kind == "nan":
        update[first] = np.full_like(update[first], np.nan)
    elif kind == "huge":
        update[first] = np.full_like(update[first], np.inf)
    elif kind == "shape":
        update[first] = update[first].reshape(-1)[:-1]
    cases = answer["cases"] * 10 if kind == "cases" else answer["cases"]
    return {**answer, "update": update, "cases": cases}
