"""Statistics of scores and decisions, with intervals and tests. NumPy and SciPy, no torch.

Conventions throughout: label 1 = controlled = positive, 0 = uncontrolled; a score is that of being controlled; called
controlled if score >= threshold. `roc` is where to begin.
"""
