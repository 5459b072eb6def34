"""Three small hospitals, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.federated.hospitals import make_hospitals


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sites' files."""
    return make_hospitals(tmp_path_factory.mktemp("hospitals"))
