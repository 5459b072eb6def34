"""The synthetic TSC cohort: head, lesions, scanner and outcome, each in a module of its own, and the truth known.

Order of the parts: `outcome` (latents and their known effect) and `clinic` (Table 1) say who the subject is, `anatomy` gives
the head, `lesions` puts tubers and nodules into it, `mri` turns tissue into signal, `acquisition` samples that as a scanner
would, `cohort` writes the BIDS folder.
"""
