"""Lifts listings, logs, figures, tables and answers out of the executed notebooks.

Usage: python written/lift.py NOTEBOOKS OUTPUT   writes OUTPUT/*.tex and OUTPUT/*.pdf
       python written/lift.py --readme           refreshes results and picture of README.md

NOTEBOOKS is the folder that holds a4-gnn.ipynb and a4-unet.ipynb, both executed. The report
includes what lands in OUTPUT, so that nothing in it is typed twice.
"""

import hashlib
import sys
from pathlib import Path

import latex
import listings
import notebooks
import readme
import tables
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
LISTINGS = (
    ("adjacency", "normalise", "GraphConvolution", "GCN", "GraphAttentionLayer", "GAT"),
    ("Down", "Up", "UNet"),
)


def digest(folder: Path) -> str:
    """SHA-256 of all that the report is built from: the notebooks and the folder written/."""
    written = ROOT / "written"
    kinds = ("*.py", "*.bib", "*.txt", "**/*.tex")
    sources = sorted(path for kind in kinds for path in written.glob(kind))
    sha = hashlib.sha256()
    for path in [*(folder / name for name in notebooks.NAMES), *sources]:
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def read_plateau() -> list[notebooks.Result]:
    """RESULT lines of the U-Net's run of twice the length; none if it was never made."""
    path = ROOT / "written" / "plateau.txt"
    return notebooks.parse_results(path.read_text("utf-8")) if path.exists() else []


def lifted_listings(cells: list[NotebookNode], names: tuple[str, ...]) -> dict[str, str]:
    """LaTeX of each listing, followed by the helpers that no earlier one has shown."""
    defined = listings.definitions(cells)
    shown = set(names)
    parts = {}
    for name in names:
        new = [name, *(n for n in listings.with_helpers(name, defined) if n not in shown)]
        shown.update(new)
        parts[f"listing-{name}"] = "\\smallskip\n".join(
            latex.listing(defined[n], helper=n not in names) for n in new
        )
    return parts


def lift(folder: Path, output: Path) -> None:
    """Write to ``output`` all that the report includes from the notebooks in ``folder``."""
    gnn, unet = both = notebooks.read_cells(folder)
    gnn_lines, unet_lines = map(notebooks.results, both)
    parts = {
        "pygments": latex.styles(),
        "facts": "".join(
            rf"\fact{{{name}}}{{{latex.paragraph(text)}}}" + "\n"
            for name, text in tables.facts(gnn_lines, unet_lines, read_plateau()).items()
        )
        + rf"\fact{{digest}}{{{digest(folder)}}}",
        "table-gnn-settings": latex.tabular(tables.settings(gnn_lines)),
        "table-gnn-ladder": latex.tabular(tables.ladder(gnn_lines)),
        "table-gnn-public": latex.tabular(tables.public(gnn_lines)),
        "table-unet-settings": latex.tabular(tables.settings(unet_lines)),
        "table-unet-scores": latex.tabular(tables.scores(unet_lines)),
    }
    for cells, names, tag in zip(both, LISTINGS, ("answer-3.6", "answer-4.2"), strict=True):
        parts[tag] = latex.paragraph(notebooks.answer(cells, tag))
        parts |= lifted_listings(cells, names)
    for name in ("log-gcn", "log-gat"):
        log = notebooks.stdout(notebooks.tagged(gnn, name))
        parts[name] = latex.verbatim(notebooks.last_epochs(log))
    output.mkdir(parents=True, exist_ok=True)
    for name, text in parts.items():
        (output / f"{name}.tex").write_text(text, encoding="utf-8")
    for cell in [*gnn, *unet]:
        for tag in notebooks.tags(cell):
            if tag.startswith("figure-") and (content := notebooks.figure(cell)):
                (output / f"{tag}.pdf").write_bytes(content)


def main() -> None:
    """Do what the command line asks for."""
    if sys.argv[1:] == ["--readme"]:
        lines = [notebooks.results(cells) for cells in notebooks.read_cells(ROOT)]
        path = ROOT / "README.md"
        path.write_text(readme.refresh(path.read_text("utf-8"), *lines), encoding="utf-8")
        readme.draw(*lines, ROOT / "written" / "findings.png")
    elif len(sys.argv) == 3:
        lift(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
