"""eTSC-Net beside the scanner: an exported model, scored without torch. Research only, not for diagnosis."""

__version__ = "0.1.0"
