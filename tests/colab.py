"""Run notebooks as Colab does: each alone in an empty folder, with the data it would download.

Usage: python tests/colab.py NOTEBOOK...
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOWNLOADS = ("cora.tgz", "nuclei.zip", "17flowers.tgz", "trimaps.tgz")


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """Errors and warnings (all that went to the error stream) in the outputs of a notebook."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"{output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(output.text)
    return found


def run(path: Path, folders: list[Path]) -> list[str]:
    """Execute a copy of a notebook with the data found in these folders; see `problems`."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "data")
        data.mkdir()
        for source in [folder / name for folder in folders for name in DOWNLOADS]:
            if source.is_file():
                shutil.copy(source, data)
        resources = {"metadata": {"path": place}}
        NotebookClient(notebook, timeout=None, allow_errors=True, resources=resources).execute()
    return problems(notebook)


def main(paths: list[str]) -> None:
    """Run these notebooks, quick; exit with what went wrong."""
    os.environ["A4_QUICK"] = "1"
    given = os.environ.pop("A4_DATA_DIR", "data")
    folders = [Path("data"), Path(given).expanduser()]
    failed = False
    for path in map(Path, paths):
        found = run(path, folders)
        print(f"{path.name}: {len(found)} errors and warnings", *found, sep="\n")
        failed |= bool(found)
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
