"""Where Zhao et al. 2026 contradicts itself, recomputed from its own figures (doi:10.1038/s41598-026-39728-5)."""

from __future__ import annotations

from dataclasses import dataclass

from statsmodels.stats.proportion import proportion_effectsize

from scripts.report.document import Table

TEST_SIZES = ((8, 11), (8, 12))  # controlled, uncontrolled: as the text says, and as its main row fits


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper's Table 2, as printed."""

    input: str
    model: str
    auc: float
    acc: float
    sensitivity: float
    specificity: float
    balanced_accuracy: float


TABLE2 = (
    PaperRow("FLAIR", "ResNet3D", 0.652, 0.710, 0.849, 0.617, 0.733),
    PaperRow("FLAIR", "EfficientNet3D-B0", 0.770, 0.800, 0.750, 0.833, 0.792),
    PaperRow("T2w", "ResNet3D", 0.788, 0.726, 0.875, 0.513, 0.694),
    PaperRow("T2w", "EfficientNet3D-B0", 0.729, 0.800, 0.749, 0.833, 0.791),
    PaperRow("both", "ResNet3D", 0.728, 0.750, 0.623, 0.900, 0.771),
    PaperRow("both", "eTSC-Net", 0.833, 0.900, 0.875, 0.917, 0.896),
)


def fraction(value: float, n: int, *, digits: int = 3) -> int | None:
    """The k with k / n printed as `value`, None where there is none. Half a last digit either way counts as rounding."""
    k = round(value * n)
    return k if 0 <= k <= n and abs(k / n - value) <= 0.5 * 10**-digits + 1e-12 else None


def paper_table2() -> Table:
    """The paper's Table 2, each proportion beside the counts that it could come from."""
    rows = []
    for row in TABLE2:
        counts = [_counts(row, controlled, uncontrolled) for controlled, uncontrolled in TEST_SIZES]
        printed = [
            f"{value:.3f}" for value in (row.auc, row.acc, row.sensitivity, row.specificity, row.balanced_accuracy)
        ]
        rows.append((row.input, row.model, *printed, *counts))
    return Table(
        name="paper_table2",
        title="The paper's Table 2 as printed, and whether its proportions are possible",
        columns=("input", "model", "AUC", "ACC", "SEN", "SPE", "BA", "as 8 + 11 children", "as 8 + 12 children"),
        rows=tuple(rows),
        notes=(
            "The paper says 19 test patients, 8 controlled and 11 uncontrolled. Its main row fits 8 and 12 alone.",
            "A dash: no whole number of children gives the printed value.",
        ),
    )


def contradictions() -> Table:
    """What the paper says, and what follows from its own figures."""
    spasms = proportion_effectsize(30 / 56, 4 / 39)
    occipital = proportion_effectsize(25 / 56, 5 / 39)
    resnet, efficientnet = (
        next(r.auc for r in TABLE2 if (r.input, r.model) == ("T2w", m)) for m in ("ResNet3D", "EfficientNet3D-B0")
    )
    rows = (
        (
            "Table 2 comes from 19 test patients (8 and 11)",
            _counts(TABLE2[-1], 8, 11),
            "its main row fits 8 and 12: " + _counts(TABLE2[-1], 8, 12),
        ),
        (
            "all EfficientNet3D models outperformed the baseline",
            f"T2w: ResNet3D {resnet:.3f}, EfficientNet3D {efficientnet:.3f}",
            "the text contradicts Table 2",
        ),
        (
            "ResNet3D has 244.07 MB of parameters",
            f"33.14 M float32 values are {33.14e6 * 4 / 2**20:.1f} MiB",
            "Table 3 contradicts itself",
        ),
        (
            "inference takes 241.45 and 370.90 MB of GPU memory",
            f"the first expanded feature map alone, 96 x 128 x 128 x 64 float32, is {96 * 128 * 128 * 64 * 4 / 1e6:.0f} MB",
            "not possible for one float32 pass at 256 x 256 x 128 in PyTorch",
        ),
        ("Cohen's h of infantile spasms is 0.948", f"from 4/39 and 30/56: {spasms:.3f}", "text and Table 1 differ"),
        (
            "Cohen's h of left parieto-occipital EEG is 0.728",
            f"from 5/39 and 25/56: {occipital:.3f}",
            "text and Table 1 differ",
        ),
        (
            "62.3 % of 56 had three or more medications",
            f"36/56 is {100 * 36 / 56:.1f} %, 33/53 is {100 * 33 / 53:.1f} %",
            "three values may be missing",
        ),
        ("the number of tubers differs with p = 0.164 (Table 1)", "p = 0.068 in the text", "text and Table 1 differ"),
    )
    return Table(
        name="contradictions",
        title="What the paper says, and what follows from its own figures",
        columns=("the paper says", "recomputed", "remark"),
        rows=rows,
        notes=("The figures of this report are of other children. They cannot be compared with the paper's.",),
    )


def _counts(row: PaperRow, controlled: int, uncontrolled: int) -> str:
    found = (
        ("ACC", fraction(row.acc, controlled + uncontrolled), controlled + uncontrolled),
        ("SEN", fraction(row.sensitivity, controlled), controlled),
        ("SPE", fraction(row.specificity, uncontrolled), uncontrolled),
    )
    return ", ".join(f"{name} {'-' if k is None else f'{k}/{n}'}" for name, k, n in found)
