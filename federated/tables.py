"""The cross-site evaluation as a Markdown table, CSV files and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from federated.cross_site import Cell, Difference
from scripts.files import write_atomically, write_csv


def write_tables(
    output: Path, cells: Sequence[Cell], differences: Sequence[Difference], *, titles: Mapping[str, str]
) -> str:
    """cross_site.csv, differences.csv, cross_site.md and cross_site.png.

    Args:
        output: their folder.
        cells: of `cross_site.cells`.
        differences: of `cross_site.differences`.
        titles: model -> how it is called; its order is the tables'.

    Returns:
        The Markdown.
    """
    columns = ["model", "site", "auc", "low", "high", "controlled", "uncontrolled"]
    rows = [{**cell.to_dict(), "controlled": cell.children[0], "uncontrolled": cell.children[1]} for cell in cells]
    write_csv(output / "cross_site.csv", rows, columns=columns)
    named = ["first", "second", "site", "difference", "low", "high", "p"]
    write_csv(output / "differences.csv", [one.to_dict() for one in differences], columns=named)
    text = (
        f"{_auc_table(cells, titles)}\n\n{_difference_table(differences, titles)}\n"
        if differences
        else _auc_table(cells, titles) + "\n"
    )
    write_atomically(output / "cross_site.md", text)
    write_atomically(output / "cross_site.png", heat_map(cells, titles))
    return text


def heat_map(cells: Sequence[Cell], titles: Mapping[str, str]) -> bytes:
    """A PNG: models by sites, the colour the AUC from 0.5 to 1, the interval under it."""
    sites, found = _sites(cells), {(cell.model, cell.site): cell for cell in cells}
    areas = np.full((len(titles), len(sites)), np.nan)
    figure = Figure(figsize=(1.6 + 1.45 * len(sites), 1.2 + 0.55 * len(titles)), layout="constrained")
    axes = figure.subplots()
    for row, model in enumerate(titles):
        for column, site in enumerate(sites):
            cell = found.get((model, site))
            if cell is None:
                continue
            areas[row, column] = cell.auc
            colour = "white" if cell.auc < 0.75 else "black"
            text = f"{cell.auc:.2f}\n{cell.low:.2f} to {cell.high:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    shown = axes.imshow(areas, vmin=0.5, vmax=1.0, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(sites)), [_column(site) for site in sites])
    axes.set_yticks(range(len(titles)), list(titles.values()))
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, label="AUC of the testing part (95 % interval)")
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110)
    return buffer.getvalue()


def _auc_table(cells: Sequence[Cell], titles: Mapping[str, str]) -> str:
    sites, found = _sites(cells), {(cell.model, cell.site): cell for cell in cells}
    children = {cell.site: cell.children for cell in cells}
    head = [f"{_column(site)}: {children[site][0]} controlled, {children[site][1]} not" for site in sites]
    lines = ["| model | " + " | ".join(head) + " |", "|---" * (len(sites) + 1) + "|"]
    for model, title in titles.items():
        row = [found.get((model, site)) for site in sites]
        said = [f"{cell.auc:.3f} ({cell.low:.3f} to {cell.high:.3f})" if cell else "" for cell in row]
        lines.append(f"| {title} | " + " | ".join(said) + " |")
    return "\n".join(lines)


def _difference_table(differences: Sequence[Difference], titles: Mapping[str, str]) -> str:
    sites = [site for site in dict.fromkeys(one.site for one in differences) if site != "mean"] + ["mean"]
    lines = ["| AUC difference | " + " | ".join(map(_column, sites)) + " |", "|---" * (len(sites) + 1) + "|"]
    found = {(one.first, one.second, one.site): one for one in differences}
    for first, second in dict.fromkeys((one.first, one.second) for one in differences):
        said = []
        for site in sites:
            one = found[first, second, site]
            interval = "" if one.low is None or one.high is None else f" ({one.low:+.3f} to {one.high:+.3f})"
            p = "" if one.p is None else f", p {one.p:.2f}"
            said.append(f"{one.difference:+.3f}{interval}{p}")
        lines.append(f"| {titles.get(first, first)} - {titles.get(second, second)} | " + " | ".join(said) + " |")
    return "\n".join(lines)


def _sites(cells: Sequence[Cell]) -> list[str]:
    return [*sorted({cell.site for cell in cells if cell.site != "mean"}), "mean"]


def _column(site: str) -> str:
    return "mean over sites" if site == "mean" else site
