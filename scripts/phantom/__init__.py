"""The synthetic TSC cohort: a head, its lesions, a scanner and an outcome, each in a module of its own, and the truth known.

Who: `outcome` (latents and their known effect), `clinic` (Table 1). What: `head` and `anatomy` (tissue and regions),
`vessels`, `pose`, `lesions`. How it is seen: `mri` (tissue to signal), `protocol`, `kspace`, `acquisition`. On disk: `bids`,
`cohort`, `picture`.
"""
