"""Loads what a notebook defines, without running the notebook."""

import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_definitions(notebook: Path) -> ModuleType:
    """Execute the cells tagged ``definitions`` of a notebook, as one module.

    Args:
        notebook: path of an ``.ipynb`` file whose tagged cells only import and define.

    Returns:
        A module holding everything that those cells define.
    """
    module = ModuleType(notebook.stem.replace("-", "_"))
    module.__file__ = str(notebook)
    sys.modules[module.__name__] = (
        module  # pickle and dataclasses look a class up by its module
    )
    for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
        if "definitions" in cell.metadata.get("tags", []):
            code = compile(cell.source, f"{notebook.name}[{number}]", "exec")
            exec(code, module.__dict__)
    return module


@pytest.fixture(scope="session")
def gnn() -> ModuleType:
    """What ``a4-gnn.ipynb`` defines."""
    return load_definitions(ROOT / "a4-gnn.ipynb")


@pytest.fixture(scope="session")
def unet() -> ModuleType:
    """What ``a4-unet.ipynb`` defines."""
    return load_definitions(ROOT / "a4-unet.ipynb")
