"""What the sites say of themselves before the first round, and whether they can train together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from federated.asking import Answer
from federated.plan import Plan
from scripts.errors import CohortError, InputError
from scripts.split import PARTS


@dataclass(frozen=True)
class Declared:
    """A site.

    Attributes:
        children: part -> (uncontrolled, controlled).
        synthetic: whether its data set says so; None: it says nothing.
        configuration: fingerprint of the bundle's configuration.
        versions: of torch and MONAI.
    """

    children: dict[str, tuple[int, int]]
    synthetic: bool | None
    configuration: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "children": {part: list(pair) for part, pair in self.children.items()}}


def declarations(answers: Mapping[str, Answer], plan: Plan) -> dict[str, Declared]:
    """The sites of a training.

    Raises:
        CohortError: sites cannot take part, each with its reason.
        InputError: too few sites, or sites whose bundles are configured differently.
    """
    faults, sites = [], {}
    for site, answer in sorted(answers.items()):
        if answer.kind == "fault":
            remedy = "Correct it at the site; its log says more. A site is not left out in silence."
            faults.append(InputError(answer.reason, expected="a site that can take part", remedy=remedy, case=site))
        else:
            sites[site] = _declared(site, answer.data)
    if faults:
        raise CohortError(faults)
    if len(sites) < plan.min_sites:
        raise InputError(
            f"{len(sites)} sites answered ({', '.join(sites) or 'none'})",
            expected=f"{plan.min_sites} or more",
            remedy="Start the sites, or lower --min_sites.",
        )
    configured = {site.configuration for site in sites.values()}
    if len(configured) > 1:
        listed = ", ".join(f"{name} {site.configuration}" for name, site in sites.items())
        raise InputError(
            f"the sites' bundles are configured differently ({listed})",
            expected="the same configs/train.json at every site",
            remedy="Install the same version of the bundle everywhere.",
        )
    return sites


def _declared(site: str, data: Mapping[str, Any]) -> Declared:
    try:
        children = {part: (int(data["children"][part][0]), int(data["children"][part][1])) for part in PARTS}
        synthetic, configuration = data["synthetic"], str(data["configuration"])
        return Declared(children, synthetic, configuration, {str(k): str(v) for k, v in data["versions"].items()})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"what it says of itself cannot be read ({type(error).__name__})",
            expected="children by part, configuration, versions",
            remedy="Install the same version of this package at every site.",
            case=site,
        ) from error
