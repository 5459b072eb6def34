"""The clinical baseline's model: logistic regression on Table 1's variables, with a ridge penalty chosen by cross-validation.

Everything that learns from children (median of what is not known, mean and SD, coefficients) is inside the scikit-learn
pipeline, so that a child who is scored has never been looked at. Levels become one column each as they are declared, which
learns nothing. What is not known takes the median of the children fitted on, and a column of its own says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from scripts.errors import InputError
from scripts.report.variables import Variable
from scripts.stats.draws import stratified_folds

PENALTIES = (0.01, 0.1, 1.0, 10.0)  # C of scikit-learn: small is a strong penalty
INNER_FOLDS = 5
SOLVER = "newton-cholesky"  # exact in a few steps where there are more children than columns
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Children as rows of numbers.

    Attributes:
        subjects: (N,) in the order of their names.
        labels: (N,) 1 = controlled, 0 = uncontrolled.
        values: (N, F), NaN where not known.
        names: (F,) of the columns.
    """

    subjects: tuple[str, ...]
    labels: NDArray[np.int64]
    values: Floats
    names: tuple[str, ...]

    def of(self, rows: NDArray[np.bool_]) -> Design:
        """These rows alone."""
        subjects = tuple(subject for subject, kept in zip(self.subjects, rows, strict=True) if kept)
        return Design(subjects, self.labels[rows], self.values[rows], self.names)


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Attributes:
        pipeline: imputation, standardisation, regression.
        names: of its columns.
        penalty: C that the inner cross-validation chose.
        inner: (N,) scores of the children it was fitted on, each by an inner fold that did not know the child.
    """

    pipeline: Pipeline
    names: tuple[str, ...]
    penalty: float
    inner: Floats

    def score(self, design: Design) -> Floats:
        """(N,) probability that seizures will be controlled."""
        return np.asarray(self.pipeline.predict_proba(design.values)[:, 1], dtype=np.float64)

    def coefficients(self) -> dict[str, float]:
        """Change of the log odds of control by one standard deviation of each column; 0 for one that is constant."""
        names = self.pipeline[0].get_feature_names_out(np.array(self.names, dtype=object))
        values = self.pipeline[-1].coef_[0]
        return {str(name): float(value) for name, value in zip(names, values, strict=True)}


def design_of(participants: pd.DataFrame, variables: Sequence[Variable]) -> Design:
    """The children with an outcome, in the order of their names.

    Args:
        participants: of `scripts.report.participants.read_participants`, with a column of every variable.
        variables: a categorical one becomes one column a level, and where it is not known of someone one more for that.

    Raises:
        InputError: a variable has no column, or of a variable no value is known.
    """
    lacking = [v.name for v in variables if v.name not in participants or participants[v.name].isna().all()]
    if lacking or not variables:
        raise InputError(
            f"nothing is known of {', '.join(lacking)}" if lacking else "no variable is given",
            expected="clinical variables of the children",
            remedy="Add the columns to participants.tsv, or leave the variables out.",
        )
    children = participants[participants["label"].notna()].sort_index()
    columns: dict[str, Floats] = {}
    for variable in variables:
        if variable.kind != "categorical":
            columns[variable.name] = children[variable.name].to_numpy(np.float64)
            continue
        for level in variable.levels:
            columns[f"{variable.name}: {level.value}"] = (children[variable.name] == level.value).to_numpy(np.float64)
        if children[variable.name].isna().any():
            columns[f"{variable.name}: not known"] = children[variable.name].isna().to_numpy(np.float64)
    labels = children["label"].to_numpy(np.int64)
    return Design(tuple(children.index), labels, np.column_stack(list(columns.values())), tuple(columns))


def fit(design: Design, *, seed: int = 0) -> Fitted:
    """Fit with the penalty that has the lowest log loss in a stratified inner cross-validation; ties: the stronger one.

    Args:
        design: the children to learn from.
        seed: of the inner folds.

    Raises:
        InputError: an outcome has fewer than two children.
    """
    fewest = min(int(design.labels.sum()), int((1 - design.labels).sum()))
    if fewest < 2:
        raise InputError(
            f"of {len(design.subjects)} children to learn from {int(design.labels.sum())} are controlled",
            expected="two or more of each outcome",
            remedy="Add children, or use fewer folds.",
        )
    folds = min(INNER_FOLDS, fewest)
    (fold,) = stratified_folds(design.labels, folds=folds, repeats=1, seed=seed)
    inner = np.empty((len(PENALTIES), design.labels.size))
    for number in range(folds):
        held_out = fold == number
        preparation = _preparation()
        known = preparation.fit_transform(design.values[~held_out])
        unknown = preparation.transform(design.values[held_out])
        for row, penalty in enumerate(PENALTIES):
            inner[row, held_out] = (
                _regression(penalty).fit(known, design.labels[~held_out]).predict_proba(unknown)[:, 1]
            )
    losses = [log_loss(design.labels, scores, labels=[0, 1]) for scores in inner]
    best = int(np.argmin(np.round(losses, 12)))
    pipeline = Pipeline([*_preparation().steps, ("regress", _regression(PENALTIES[best]))])
    return Fitted(pipeline.fit(design.values, design.labels), design.names, PENALTIES[best], inner[best])


def _preparation() -> Pipeline:
    return Pipeline(
        [
            # A column that is wholly unknown among the children fitted on stays, as 0: the columns are always the same.
            ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
            ("standardise", StandardScaler()),
        ]
    )


def _regression(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, solver=SOLVER, tol=1e-8, max_iter=1000)
