"""What several tests share: loading definitions and writing archives."""

import io
import tarfile
from pathlib import Path
from types import ModuleType

import nbformat
import torch

ROOT = Path(__file__).resolve().parent.parent


def load_definitions(notebook: Path) -> ModuleType:
    """Execute the cells tagged ``definitions`` of a notebook, as one module on the CPU."""
    # joblib sends the functions of __main__ as code; workers cannot import a notebook.
    module = ModuleType("__main__")
    module.device = torch.device("cpu")
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
