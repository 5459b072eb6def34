"""How like the training cohort a case is: `case.py` is where to begin."""
