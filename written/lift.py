"""Lifts listings, logs, figures, tables and answers out of the executed notebooks.

Usage: python written/lift.py NOTEBOOKS OUTPUT   writes OUTPUT/*.tex and OUTPUT/*.pdf
       python written/lift.py --readme           refreshes the results table of README.md

NOTEBOOKS is the folder that holds a4-gnn.ipynb and a4-unet.ipynb, both executed. The report
includes what lands in OUTPUT, so that nothing in it is typed twice.
"""

import base64
import hashlib
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import LatexFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ("a4-gnn.ipynb", "a4-unet.ipynb")
LISTINGS = ("GraphConvolution", "GCN", "GraphAttentionLayer", "GAT", "Down", "Up", "UNet")
HELPERS = ("edge_softmax", "DoubleConv")  # what the answers call, listed beside them
MARKER = re.compile(r"\s*# (>>>|<<<) answer ([\d.]+)$")


def read_cells(folder: Path) -> list[list[NotebookNode]]:
    """Cells of the GNN and of the U-Net notebook in a folder."""
    return [nbformat.read(folder / name, as_version=4).cells for name in NOTEBOOKS]


def tags(cell: NotebookNode) -> list[str]:
    """Tags of a cell; cells without any have none."""
    return cell.metadata.get("tags", [])


def tagged(cells: list[NotebookNode], tag: str) -> NotebookNode | None:
    """The one cell with this tag, or None.

    Raises:
        ValueError: if several cells carry it.
    """
    found = [cell for cell in cells if tag in tags(cell)]
    if len(found) > 1:
        raise ValueError(f"{len(found)} cells carry the tag '{tag}', expected at most one")
    return found[0] if found else None


def stdout(cell: NotebookNode) -> str:
    """All that a cell printed."""
    return "".join(
        output.text
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    )


def results(cells: list[NotebookNode]) -> list[dict[str, str]]:
    """The RESULT lines of a notebook, one dictionary for each line, in order."""
    lines = "\n".join(stdout(cell) for cell in cells).splitlines()
    return [
        dict(pair.split("=", 1) for pair in line.split()[1:])
        for line in lines
        if line.startswith("RESULT ")
    ]


# --- listings --------------------------------------------------------------------------------


def listing(cells: list[NotebookNode], name: str) -> str:
    """Source of the cell that defines a class or function.

    Raises:
        ValueError: if not exactly one ``definitions`` cell defines it.
    """
    found = [
        cell.source
        for cell in cells
        if "definitions" in tags(cell)
        and re.search(rf"^(class|def) {name}\b", cell.source, re.M)
    ]
    if len(found) != 1:
        raise ValueError(f"{name} is defined in {len(found)} cells, expected one")
    return found[0]


def answer_lines(source: str) -> list[int]:
    """Numbers, from 1, of the lines between the answer markers, blank lines left out.

    Raises:
        ValueError: if the markers do not pair up.
    """
    inside: str | None = None
    numbers = []
    for number, line in enumerate(source.splitlines(), start=1):
        if match := MARKER.match(line):
            opens, question = match[1] == ">>>", match[2]
            if opens == (inside is not None) or (not opens and inside != question):
                raise ValueError(f"line {number}: unbalanced answer marker '{line.strip()}'")
            inside = question if opens else None
        elif inside and line.strip():
            numbers.append(number)
    if inside:
        raise ValueError(f"answer {inside} is never closed")
    return numbers


def latex_listing(source: str) -> str:
    """A listing with line numbers, the answer lines on a coloured ground."""
    lines = ",".join(map(str, answer_lines(source)))
    formatter = LatexFormatter(
        verboptions=f"numbers=left,breaklines,highlightlines={{{lines}}}"
    )
    return highlight(source, PythonLexer(), formatter)


# --- logs, figures, answers ------------------------------------------------------------------


def last_epochs(log: str, count: int = 10) -> list[str]:
    """The log's last ``count`` epoch lines and all that was printed after them.

    Raises:
        ValueError: if fewer epochs were logged.
    """
    lines = [line for line in log.splitlines() if not line.startswith("RESULT ")]
    epochs = [i for i, line in enumerate(lines) if re.match(r"\s*epoch\b", line, re.I)]
    if len(epochs) < count:
        raise ValueError(f"{len(epochs)} epochs logged, expected at least {count}")
    return [line for line in lines[epochs[-count] :] if line.strip()]


def latex_log(lines: list[str]) -> str:
    """Lines of a log as they were printed."""
    return "\\begin{Verbatim}\n" + "\n".join(lines) + "\n\\end{Verbatim}\n"


def figure(cell: NotebookNode) -> bytes | None:
    """A cell's figure as PDF; None where the notebook had nothing to draw."""
    for output in cell.outputs:
        if "application/pdf" in output.get("data", {}):
            return base64.b64decode(output.data["application/pdf"])
    return None


def markdown(cell: NotebookNode) -> str:
    """The Markdown that a cell displayed."""
    return "\n\n".join(
        output.data["text/markdown"]
        for output in cell.outputs
        if "text/markdown" in output.get("data", {})
    )


SPECIAL = {c: "\\" + c for c in "&%#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "≤": r"$\leq$",  # the text font lacks it
}


def escape(text: str) -> str:
    """Plain text with the characters that LaTeX would read as commands made harmless."""
    return "".join(SPECIAL.get(c, c) for c in text)


def latex_paragraph(text: str) -> str:
    """One paragraph of Markdown (bold, emphasis, code, $mathematics$) as LaTeX."""
    pieces = re.split(r"(\$[^$]+\$|`[^`]+`)", text)
    for i, piece in enumerate(pieces):
        if piece.startswith("`"):
            pieces[i] = rf"\texttt{{{escape(piece.strip('`'))}}}"
        elif not piece.startswith("$"):
            piece = re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", escape(piece).replace("$", r"\$"))
            pieces[i] = re.sub(r"\*(.+?)\*", r"\\emph{\1}", piece)
    return "".join(pieces)


def sentences(text: str) -> int:
    """Number of sentences: full stops, question and exclamation marks that end a word."""
    return len(re.findall(r"[.!?](?=\s|$)", text.strip()))


# --- tables ----------------------------------------------------------------------------------

Table = tuple[list[str], list[list[str]]]  # header and rows; an empty row is a rule
PROTOCOLS = {
    ("random140", "100"): "random split, 100 epochs",
    ("random140", "200"): "random split, 200 epochs",
    ("public", "200"): "public split, ≤ 200 epochs",
    ("public", "1000"): "public split, ≤ 1000 epochs",
}
METRICS = {
    "miou": "mIoU",
    "boundary_iou": "boundary IoU",
    "dice": "Dice",
    "pixel_accuracy": "accuracy",
    "a2_iou": "A2's IoU",
    "a2_iou_labelled": "A2's IoU, labelled",
}


def gnn_table(results: list[dict[str, str]]) -> Table:
    """Test accuracy by model and protocol, and differences paired by seed, in per cent."""
    seeds = {line["seeds"] for line in results if "seeds" in line}
    kinds = {
        "model": "{test_accuracy:.1f} ± {std:.1f}",
        "pair": "{difference:+.1f} [{ci_low:+.1f}, {ci_high:+.1f}]",
    }
    titles = list(PROTOCOLS.values())
    cells: list[list[str]] = []
    for kind, form in kinds.items():
        rows: dict[str, dict[str, str]] = {}  # name -> protocol -> cell
        for line in results:
            if kind in line and "seeds" in line:
                measured = {k: 100 * float(v) for k, v in line.items() if "." in v}
                protocol = PROTOCOLS[line["split"], line["epochs"]]
                name = line[kind].replace("-", " − ").replace("_", " ")
                rows.setdefault(name, {})[protocol] = form.format(**measured).replace("-", "−")
        cells += [[]] if cells else []
        cells += [
            [name, *(row.get(title, "–") for title in titles)] for name, row in rows.items()
        ]
    return [f"model, {'/'.join(seeds)} seeds; %", *titles], cells


def unet_table(results: list[dict[str, str]]) -> Table:
    """Test metrics by data set and variant of the network, baselines included."""
    names = {"skip=True": "with skips", "skip=False": "without skips"}
    rows: dict[str, list[str]] = {}  # by what they show: data sets may share a baseline
    for line in results:
        if "dataset" in line and "miou" in line:
            kind = next(f"{k}={line[k]}" for k in ("skip", "control", "baseline") if k in line)
            values = [line.get(key, "–") for key in METRICS]
            if "miou_std" in line:
                values[0] += f" ± {line['miou_std']}"
            name = names.get(kind, kind.split("=")[1])
            row = [line["dataset"], name, line.get("seeds", "–"), *values]
            rows.setdefault("|".join(row[1:]), row)
    table: list[list[str]] = []
    for row in rows.values():
        table += [[]] if table and table[-1][0] != row[0] else []
        table.append(row)
    return ["data", "model", "seeds", *METRICS.values()], table


def markdown_table(table: Table) -> str:
    """A table in GitHub's Markdown."""
    header, rows = table
    lines = [header, ["---"] * len(header), *filter(None, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_table(table: Table) -> str:
    """A table between booktabs rules; a comma in the header breaks the line."""
    header, rows = table
    heads = [r"\shortstack[l]{" + escape(cell).replace(", ", r" \\") + "}" for cell in header]
    lines = [" & ".join(map(escape, row)) + r" \\" if row else r"\midrule" for row in rows]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{@{{}}{'l' * len(header)}@{{}}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


# --- what the report and the README take -----------------------------------------------------


def digest(folder: Path) -> str:
    """SHA-256 of all that the report is built from: the notebooks and the folder written/."""
    written = ROOT / "written"
    sources = [p for pattern in ("*.py", "*.bib", "**/*.tex") for p in written.glob(pattern)]
    sha = hashlib.sha256()
    for path in [*(folder / name for name in NOTEBOOKS), *sorted(sources)]:
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def lift(folder: Path, output: Path) -> None:
    """Write to ``output`` all that the report includes from the notebooks in ``folder``."""
    gnn, unet = read_cells(folder)
    parts = {
        "pygments": LatexFormatter().get_style_defs(),
        "digest": rf"\newcommand{{\sourcedigest}}{{{digest(folder)}}}",
        "table-gnn": latex_table(gnn_table(results(gnn))),
        "table-unet": latex_table(unet_table(results(unet))),
        "answer-3.6": latex_paragraph(markdown(tagged(gnn, "answer-3.6"))),
        "answer-4.2": latex_paragraph(markdown(tagged(unet, "answer-4.2"))),
    }
    for name in (*LISTINGS, *HELPERS):
        parts[f"listing-{name}"] = latex_listing(listing([*gnn, *unet], name))
    for name in ("log-gcn", "log-gat"):
        log = stdout(tagged(gnn, name))
        settings = [line for line in log.splitlines() if line.startswith("Settings")]
        parts[name] = latex_log([*settings, *last_epochs(log)])
    output.mkdir(parents=True, exist_ok=True)
    for name, text in parts.items():
        (output / f"{name}.tex").write_text(text, encoding="utf-8")
    for cell in [*gnn, *unet]:
        for tag in tags(cell):
            if tag.startswith("figure-") and (content := figure(cell)):
                (output / f"{tag}.pdf").write_bytes(content)


def refresh_readme(readme: str, folder: Path) -> str:
    """The README with the results between its two markers replaced by the notebooks' own."""
    gnn, unet = map(results, read_cells(folder))
    times = [
        f"`{line['notebook']}` {line['minutes']} minutes ({line['device']}, "
        f"{line['threads']} threads)"
        for line in [*gnn, *unet]
        if "minutes" in line
    ]
    paragraphs = [
        "Cora, test accuracy: mean ± standard deviation, the same splits for every model; then "
        "differences paired by seed, with their 95 % confidence intervals. UniformGAT has its "
        "attention vectors held at zero, *no bias* its biases. On the public split GAT has its "
        "paper's width and step size.",
        markdown_table(gnn_table(gnn)).strip(),
        "U-Net, test images: mean over the seeds; mIoU with its standard deviation. "
        "`flowers-a2` is fine-tuned on Assignment 2's labels, `nuclei-longer` trained for a "
        "second cycle, and `equal-size` has no skips, but as many weights as the network that "
        "has them.",
        markdown_table(unet_table(unet)).strip(),
        f"The stored runs took: {', '.join(times)}.",
    ]
    return re.sub(
        r"(<!-- results.*?-->\n).*(<!-- /results -->)",
        lambda match: "\n\n".join([match[1].strip(), *paragraphs, match[2]]),
        readme,
        flags=re.S,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--readme"]:
        path = ROOT / "README.md"
        path.write_text(refresh_readme(path.read_text("utf-8"), ROOT), encoding="utf-8")
    elif len(sys.argv) == 3:
        lift(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        sys.exit(__doc__)
