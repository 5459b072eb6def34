"""A variant of the bundle: the same branches at another size, repeated for further modalities."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.runners import load_network
from export.scaling import make_variant
from export.stock import weights_modalities
from scripts.checkpoint import trained_size
from tests.conftest import BUNDLE


@pytest.mark.parametrize("count", [1, 3])
def test_a_variant_repeats_the_branches(tmp_path: Path, count: int) -> None:
    variant = make_variant(BUNDLE, tmp_path / "variant", spatial_size=(64, 32, 32), count=count)
    weights = variant / "models" / "model.pt"
    assert weights_modalities(weights) == [f"m{index}" for index in range(count)]
    assert trained_size(weights, otherwise=()) == [64, 32, 32]
    network, original = load_network(str(weights)), load_network(str(BUNDLE / "models" / "model.pt"))
    image = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(image.expand(-1, count, -1, -1, -1), return_logits=True)[0]
        own = original(image.expand(-1, 2, -1, -1, -1), return_logits=True)[0]
        # The same numbers in the same order; equal sums of them.
        torch.testing.assert_close(logits, own[[index % 2 for index in range(count)]], rtol=0, atol=0)
        fused = network(image.expand(-1, count, -1, -1, -1))
    torch.testing.assert_close(fused[0, 0], torch.sigmoid(logits).mean())


def test_a_variant_can_be_taken_for_a_bundle(tmp_path: Path) -> None:
    variant = make_variant(BUNDLE, tmp_path / "variant", spatial_size=(32, 32, 32), count=3)
    assert (variant / "scripts" / "network.py").is_file()
    assert '"m2"' in (variant / "configs" / "inference.json").read_text()
