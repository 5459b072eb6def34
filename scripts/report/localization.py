"""The report's section on what the maps show: how much of them lies on tubers, in a table and in words.

Read from the localization.json that `python -m scripts localize` wrote. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.report.document import Block, Section, Table, Text
from scripts.report.sources import from_json

NAMES = {"flair": "FLAIR", "t2w": "T2w", "t1w": "T1w", "dwi": "DWI"}
METHODS = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}
LIMIT = (
    "Grad-CAM shows where features moved a score, at the resolution of the layer named; not why seizures go on, and not where "
    "they begin."
)


def localization_section(path: str | Path) -> Section:
    """The section.

    Args:
        path: localization.json.

    Raises:
        InputError: the file cannot be read, or lacks a figure.
    """
    expected = "the localization.json of `python -m scripts localize`"
    blocks = from_json(path, _blocks, expected=expected, remedy="Localize again.")
    return Section("What the maps show: Grad-CAM and tubers", blocks)


def _blocks(content: Mapping[str, Any]) -> list[Block]:
    modalities: Mapping[str, Mapping[str, Any]] = content["modalities"]
    columns = {name: _column(found, content) for name, found in modalities.items()}
    words = [Text(_words(name, found, content)) for name, found in modalities.items()]
    table = Table(
        name="localization",
        title=f"{METHODS.get(content['method'], content['method'])} maps against tubers whose place is known",
        columns=("", *(NAMES.get(name, name) for name in columns)),
        rows=tuple(
            (label, *(column.get(label, "-") for column in columns.values()))
            for label in dict.fromkeys(label for column in columns.values() for label in column)
        ),
        notes=tuple(_notes(content)),
    )
    return [*words, table, Text(LIMIT), *(Text(warning, warning=True) for warning in content["warnings"])]


def localization_text(section: Section) -> str:
    """The section in Markdown."""
    parts = [
        block.to_markdown() if isinstance(block, Table) else block.text
        for block in section.blocks
        if isinstance(block, Table | Text)
    ]
    return "\n\n".join([f"## {section.title}", *parts])


def _column(found: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, str]:
    near, energy = f"within {content['tolerance_mm']:g} mm of a tuber", found["exchange"]["energy"]
    hits = found["exchange"]["near_tuber"]
    rows = {
        "children": f"{found['children']}",
        "layer; its cells, mm": f"{found['layer']}; " + " x ".join(f"{edge:.1f}" for edge in found["resolution_mm"]),
        "map's sum on tubers": _percent(found["energy"]),
        "tubers' share of the brain (a map without contrast)": _percent(found["tuber_share"]),
        "difference, points": _percent(found["energy_minus_share"], sign=True),
        "own map against others': own": f"{100 * energy['own']:.2f} %",
        "own map against others': others": f"{100 * energy['others']:.2f} %",
        "own map against others': gain, points": _percent(energy["gain"], sign=True),
        "own map against others': p": _p(energy["p"]).removeprefix("= "),
        "maximum on a tuber": _percent(found["on_tuber"], digits=1),
        f"maximum {near}": _percent(found["near_tuber"], digits=1),
        f"brain {near} (a random point)": _percent(found["near_share"], digits=1),
        f"maximum {near}, others' maps": f"{100 * hits['others']:.1f} %",
        f"maximum {near}, own against others': p": _p(hits["p"]).removeprefix("= "),
    }
    if len(found["by_outcome"]) > 1:
        for outcome, group in found["by_outcome"].items():
            shown = f"maps for '{outcome}'"
            rows[f"{shown}: children"] = f"{group['children']}"
            rows[f"{shown}: sum on tubers"] = _percent(group["energy"])
            rows[f"{shown}: difference, points"] = _percent(group["energy_minus_share"], sign=True)
    random = found.get("random_weights")
    if random:
        rows["random weights: map's sum on tubers"] = _percent(random["energy"])
        rows["trained minus random weights, points"] = _percent(random["trained_minus_random"], sign=True)
        rows["rank correlation of the maps of trained and random weights"] = _plain(random["rank_correlation"])
    return rows


def _words(name: str, found: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """One paragraph that says no more than the intervals do."""
    energy, exchange = found["energy"], found["exchange"]["energy"]
    excess, gain = _side(found["energy_minus_share"]["interval"]), _side(exchange["gain"]["interval"])
    against = {1: "more than", -1: "less than", 0: "no more than"}
    parts = [
        f"{NAMES.get(name, name)}: the maps of {found['children']} children put {_percent(energy)} of their sum on tubers, which "
        f"fill {100 * found['tuber_share']['value']:.2f} % of the brain: {against[excess]} a map without contrast would.",
        f"In a common box, a child's own map puts {100 * exchange['own']:.2f} % there and other children's maps for the same "
        f"outcome {100 * exchange['others']:.2f} % (p {_p(exchange['p'])}, one-sided permutation test): "
        f"{_exchange_words(gain, exchange['p'])}",
        f"The maximum lies within {content['tolerance_mm']:g} mm of a tuber in {100 * found['near_tuber']['value']:.1f} % of the "
        f"children; a random point of the brain in {100 * found['near_share']['value']:.1f} %, other children's maxima in "
        f"{100 * found['exchange']['near_tuber']['others']:.1f} %.",
    ]
    random = found.get("random_weights")
    if random:
        side = _side(random["trained_minus_random"]["interval"])
        parts.append(
            f"Maps of weights drawn at random put {100 * random['energy']['value']:.2f} % on tubers: training has "
            + {
                1: "brought the maps nearer to them.",
                -1: "taken the maps away from them.",
                0: "made no difference that shows.",
            }[side]
        )
    return " ".join(parts)


def _exchange_words(gain: int, p: float) -> str:
    if gain < 0:
        return "a child's own map does worse than those of others."
    if (gain > 0) != (p <= 0.05):
        return "the test and the interval of the gain do not agree, and whether the maps tell this child's tubers stays open."
    return f"the maps {'' if gain > 0 else 'do not '}tell this child's tubers from those of others."


def _notes(content: Mapping[str, Any]) -> list[str]:
    notes = [
        f"Intervals of {100 * content['level']:g} %: BCa bootstrap over children ({content['resamples']} resamples, seed "
        f"{content['seed']}) for means, Wilson's for shares of children.",
        "Others' maps: the maps of the other children for the same outcome on this child's tubers, the boxes around the brains "
        f"brought to coincide, without registration. p: {content['resamples']} random exchanges of the maps among the children "
        "for the same outcome, one-sided.",
        f"Tubers: labels {' and '.join(content['lesions'])}; the maps speak for the outcome that was decided or asked for: "
        + "; ".join(
            f"{NAMES.get(name, name)} "
            + ", ".join(f"{group['children']} {outcome}" for outcome, group in found["by_outcome"].items())
            for name, found in content["modalities"].items()
        )
        + ".",
    ]
    for name, found in content["modalities"].items():
        if found["left_out"]:
            listed = ", ".join(f"{case} ({reason})" for case, reason in list(found["left_out"].items())[:10])
            more = len(found["left_out"]) - 10
            notes.append(f"{NAMES.get(name, name)}, left out: {listed}" + (f" and {more} more." if more > 0 else "."))
    if content.get("failures"):
        notes.append(f"{content['failures']} maps failed and are missing here: see failures.csv.")
    return notes


def _side(interval: list[float] | None) -> int:
    """1 above 0, -1 below, 0 where the interval holds 0 or is not known."""
    if interval is None:
        return 0
    return int(interval[0] > 0) - int(interval[1] < 0)


def _percent(estimate: Mapping[str, Any], *, digits: int = 2, sign: bool = False) -> str:
    plus, unit = "+" * sign, "" if sign else " %"
    value = f"{100 * estimate['value']:{plus}.{digits}f}{unit}"
    if estimate["interval"] is None:
        return value
    low, high = (f"{100 * end:{plus}.{digits}f}" for end in estimate["interval"])
    return f"{value} ({low} to {high})"


def _plain(estimate: Mapping[str, Any]) -> str:
    interval = estimate["interval"]
    return f"{estimate['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
