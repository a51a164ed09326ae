"""Reads executed notebooks: tagged cells, what they printed and displayed, RESULT lines."""

import base64
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

NAMES = ("a4-gnn.ipynb", "a4-unet.ipynb")
Result = dict[str, str]  # the pairs of one RESULT line, and its "kind"


def read_cells(folder: Path) -> list[list[NotebookNode]]:
    """Cells of the GNN and of the U-Net notebook in a folder."""
    return [nbformat.read(folder / name, as_version=4).cells for name in NAMES]


def tags(cell: NotebookNode) -> list[str]:
    """Tags of a cell; cells without any have none."""
    return cell.metadata.get("tags", [])


def tagged(cells: list[NotebookNode], tag: str) -> NotebookNode:
    """The cell with this tag.

    Raises:
        ValueError: if no cell carries it, or several do.
    """
    found = [cell for cell in cells if tag in tags(cell)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} cells carry the tag '{tag}', expected one")
    return found[0]


def stdout(cell: NotebookNode) -> str:
    """All that a cell printed."""
    return "".join(
        output.text
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    )


def displayed(cell: NotebookNode, kind: str) -> list[str]:
    """What a cell displayed of one MIME type, such as ``text/markdown``."""
    return [
        output.data[kind]
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def answer(cells: list[NotebookNode], tag: str) -> str:
    """The Markdown that the cell with this tag displayed, as one text."""
    return " ".join(displayed(tagged(cells, tag), "text/markdown"))


def figure(cell: NotebookNode) -> bytes | None:
    """A cell's figure as PDF; None where the notebook had nothing to draw."""
    found = displayed(cell, "application/pdf")
    return base64.b64decode(found[0]) if found else None


def last_epochs(log: str, count: int = 10) -> list[str]:
    """The log without its epochs but for the last ``count``, and without RESULT lines.

    Raises:
        ValueError: if fewer epochs were logged.
    """
    lines = [line for line in log.splitlines() if line.strip() and line[:7] != "RESULT "]
    epochs = [i for i, line in enumerate(lines) if re.match(r"\s*epoch\b", line, re.I)]
    if len(epochs) < count:
        raise ValueError(f"{len(epochs)} epochs logged, expected at least {count}")
    return lines[: epochs[0]] + lines[epochs[-count] :]


def parse_results(text: str) -> list[Result]:
    """The RESULT lines of a text; the first word names the kind, with or without a value."""
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("RESULT ")]
    return [
        {"kind": words[0].split("=")[0]}
        | dict(word.split("=", 1) for word in words if "=" in word)
        for words in lines
    ]


def results(cells: list[NotebookNode]) -> list[Result]:
    """The RESULT lines of a notebook, in order."""
    return parse_results("\n".join(map(stdout, cells)))


def select(lines: list[Result], kind: str, **wanted: object) -> list[Result]:
    """The lines of a kind that have all the wanted values."""
    wanted = {"kind": kind} | {key: str(value) for key, value in wanted.items()}
    return [line for line in lines if wanted.items() <= line.items()]


def one(lines: list[Result], kind: str, **wanted: object) -> Result:
    """The only line of a kind with the wanted values.

    Raises:
        ValueError: if there is none, or more than one; the message names what was wanted.
    """
    found = select(lines, kind, **wanted)
    if len(found) != 1:
        raise ValueError(f"{len(found)} lines 'RESULT {kind}' with {wanted}, expected one")
    return found[0]
