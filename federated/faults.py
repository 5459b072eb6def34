"""Why a site gives no answer. No torch."""


class SiteFault(Exception):
    """Why a site cannot do what it was asked. The sentence travels to the server: it holds no path and no child's name."""


class Interrupted(Exception):
    """The server no longer waits for this round."""
