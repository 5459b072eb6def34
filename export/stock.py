"""What the race compares with: MONAI's own `onnx_export` of the bundle, made by its command as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.checkpoint import read_weights
from scripts.errors import InputError
from scripts.files import sha256


def weights_modalities(path: str | Path) -> list[str]:
    """The modalities of a file of weights, in the order of the input channels.

    Raises:
        InputError: no weights, or not ours.
    """
    names = dict.fromkeys(name.split(".")[1] for name in read_weights(path) if name.startswith("branches."))
    if not names:
        raise InputError("no branches", expected="weights of ETSCNet", remedy="Give the bundle's model.pt.", file=path)
    return list(names)


def stock_export(bundle_root: str | Path, output_dir: str | Path, *, spatial_size: Sequence[int]) -> Path:
    """`python -m monai.bundle onnx_export` of the bundle's network, once for these weights and this size.

    Returns:
        The file, named for the weights and the size; one that is there already is taken as it is.

    Raises:
        InputError: no weights, or MONAI's command failed; its last line is in the message.
    """
    configs, weights = Path(bundle_root) / "configs", Path(bundle_root) / "models" / "model.pt"
    modalities = weights_modalities(weights)
    size = "x".join(str(edge) for edge in spatial_size)
    target = Path(output_dir) / f"stock_{size}_{sha256(weights)[:8]}.onnx"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:  # the exporter leaves some 37 MB behind each time
        made = Path(folder) / target.name
        options = {
            "filepath": made,
            "ckpt_file": weights,
            "meta_file": configs / "metadata.json",
            "config_file": configs / "inference.json",
            "input_shape": [1, len(modalities), *spatial_size],
            "bundle_root": bundle_root,
            "modalities": modalities,
        }
        command = [sys.executable, "-m", "monai.bundle", "onnx_export", "network_def"]
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": folder})
        if done.returncode or not made.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise InputError(
                f"MONAI's onnx_export failed ({said[-1] if said else 'without a word'})",
                expected="a graph",
                remedy="Run `python -m monai.bundle onnx_export network_def` on the bundle to see all that it says.",
                file=weights,
            )
        partial = target.with_suffix(".tmp")
        partial.write_bytes(made.read_bytes())
        partial.replace(target)
    return target
