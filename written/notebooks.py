"""What the executed notebooks show: tables, figures, logs, answers and code."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pandas as pd

NAMES = ("a4-gnn.ipynb", "a4-unet.ipynb")


class Notebooks:
    """The cells of both notebooks; whatever is asked for and missing raises a ValueError."""

    def __init__(self, folder: Path):
        self.cells = []
        for name in NAMES:
            self.cells += nbformat.read(folder / name, as_version=4).cells

    def tables(self) -> dict[str, pd.DataFrame]:
        """Each table by its name, as shown with all digits (``gnn-lead`` is ``gnn_lead``)."""
        tables = {}
        for cell in self.cells:
            for output in cell.get("outputs", []):
                metadata = output.get("metadata", {})
                if "table" in metadata:
                    data = io.StringIO(json.dumps(metadata["table"]))
                    name = metadata["name"].replace("-", "_")
                    tables[name] = pd.read_json(data, orient="table", precise_float=True)
        return tables

    def cell(self, tag: str):
        """The only cell with this tag."""
        cells = [cell for cell in self.cells if tag in cell.metadata.get("tags", [])]
        if len(cells) != 1:
            raise ValueError(f"{len(cells)} cells have the tag {tag}; there must be one")
        return cells[0]

    def displayed(self, tag: str, kind: str) -> str:
        """What the cell with this tag displayed, as one kind of data (``text/markdown``)."""
        for output in self.cell(tag).outputs:
            if kind in output.get("data", {}):
                return output.data[kind]
        raise ValueError(f"the cell with the tag {tag} displayed no {kind}; is it executed?")

    def figure(self, tag: str) -> bytes:
        """A figure, as a PDF file."""
        return base64.b64decode(self.displayed(tag, "application/pdf"))

    def log(self, tag: str, epochs: int = 10) -> str:
        """What a training printed: the first lines, the last epochs, and what follows them."""
        texts = [o.text for o in self.cell(tag).outputs if o.output_type == "stream"]
        lines = [line for line in "".join(texts).splitlines() if line.strip()]
        rows = [k for k, line in enumerate(lines) if re.match(r"\s*epoch\b", line, re.I)]
        if len(rows) < epochs:
            raise ValueError(f"{tag} shows {len(rows)} epochs; there must be {epochs}")
        before = lines[: rows[0]]
        last = lines[rows[-epochs] :]
        return "\n".join(before + last)

    def code(self, name: str) -> str:
        """The source of a class or function in the cells tagged ``definitions``."""
        # its first line, then all lines that are indented, empty or close a bracket
        definition = re.compile(rf"^(class|def) {name}\b.*\n(([ )].*)?\n)*", re.M)
        for cell in self.cells:
            found = definition.search(cell.source + "\n")
            if found and "definitions" in cell.metadata.get("tags", []):
                return found[0].rstrip()
        raise ValueError(f"no cell with the tag definitions defines {name}")
