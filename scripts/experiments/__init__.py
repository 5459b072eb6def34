"""Runs behind Tables 2 and 3: every model trained and evaluated on one split, and what each network costs."""
