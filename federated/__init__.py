"""Training over several hospitals: NVFlare carries numbers between them, MONAI's MonaiAlgo runs the bundle at each; images stay.

It imports `scripts`; nothing imports it. `controller.py` is the server's side and where to begin, `site.py` is a hospital's.
"""
