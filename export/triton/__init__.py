"""The exported network behind Triton and KServe: a model repository, its manifest, and the check of a running server."""

NAME = "etscnet"  # of the model, as the edge server names it
