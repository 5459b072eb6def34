"""The evidence: the paper's tables and figures from any cohort, with the intervals and tests that it lacks. No torch."""
