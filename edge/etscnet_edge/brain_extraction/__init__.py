"""Brain extraction by the network of an HD-BET (nnU-Net v2) model folder, exported to ONNX: numpy and ONNX Runtime, no torch.

`extractor.py` is where to begin. What nnU-Net's predictor does, in its order, is in `resampling.py`, `tiling.py` and `parts.py`.
"""
