"""Fixtures: what the two notebooks define."""

from types import ModuleType

import pytest
from definitions import ROOT, load_definitions


@pytest.fixture(scope="session")
def gnn() -> ModuleType:
    """What ``a4-gnn.ipynb`` defines."""
    return load_definitions(ROOT / "a4-gnn.ipynb")


@pytest.fixture(scope="session")
def unet() -> ModuleType:
    """What ``a4-unet.ipynb`` defines."""
    return load_definitions(ROOT / "a4-unet.ipynb")
