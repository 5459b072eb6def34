"""The children that a model was wrong about: who they are, and how far from the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scripts.outcome import OUTCOMES
from scripts.report.document import Table
from scripts.report.study import Model

MOST = 40


def wrong_decisions(model: Model, others: Sequence[Model], variables: Mapping[str, Mapping[str, str]]) -> Table:
    """Misclassified children, the most confident error first.

    Args:
        model: whose errors are listed.
        others: of each child, how many of these models are wrong about it, too; on the same children.
        variables: printed name -> participant_id -> what the clinic knows.
    """
    wrong = np.flatnonzero(model.decisions != model.labels)
    by_distance = sorted(wrong, key=lambda at: (-abs(model.scores[at] - model.thresholds[at]), model.subjects[at]))
    rows = []
    for at in by_distance[:MOST]:
        also = sum(int(other.decisions[at] != other.labels[at]) for other in others)
        rows.append(
            (
                model.subjects[at],
                OUTCOMES[model.labels[at]],
                OUTCOMES[model.decisions[at]],
                f"{model.scores[at]:.3f}",
                f"{model.thresholds[at]:.3f}",
                *(f"{values[at]:.3f}" for values in model.branches.values()),
                *((f"{also} of {len(others)}",) if others else ()),
                *(known.get(model.subjects[at], "-") for known in variables.values()),
            )
        )
    return Table(
        name="wrong_decisions",
        title=f"{wrong.size} of {model.labels.size} children are called wrongly by {model.name}",
        columns=(
            "child",
            "outcome",
            "called",
            "score",
            "threshold",
            *(f"score {name}" for name in model.branches),
            *(("other models wrong",) if others else ()),
            *variables,
        ),
        rows=tuple(rows),
        notes=(
            ("The most confident error first.",)
            if wrong.size <= MOST
            else (f"The {MOST} most confident errors of {wrong.size}.",)
        ),
    )
