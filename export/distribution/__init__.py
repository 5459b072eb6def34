"""How the bundle leaves the checkout: the Model Zoo's archive, the Zoo's checks, and what a release is signed with."""
