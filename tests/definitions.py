"""What several tests share: loading definitions and writing archives."""

import io
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import nbformat
import torch

ROOT = Path(__file__).resolve().parent.parent


def load_definitions(notebook: Path) -> ModuleType:
    """Execute the cells tagged ``definitions`` of a notebook, as one module on the CPU."""
    module = ModuleType(notebook.stem.replace("-", "_"))
    module.__file__ = str(notebook)
    module.device = torch.device("cpu")
    sys.modules[module.__name__] = module  # where pickle looks for its classes
    for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
        if "definitions" in cell.metadata.get("tags", []):
            code = compile(cell.source, f"{notebook.name}[{number}]", "exec")
            exec(code, module.__dict__)
    return module


def write_tgz(path: Path, files: dict[str, bytes]) -> None:
    """Write a ``.tgz`` archive that holds these files, content by name."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
