"""From the bundle's weights to files that run without torch: ONNX, TensorRT, the manifest, and the proof that they are equal."""
