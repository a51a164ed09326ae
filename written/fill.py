r"""Fills the report with what the executed notebooks show.

Usage: python written/fill.py NOTEBOOKS OUTPUT

NOTEBOOKS is the folder of the executed a4-gnn.ipynb and a4-unet.ipynb; the LaTeX of the report
goes to the folder OUTPUT. The report's texts are templates for jinja2, written by hand:

    \VAR{gnn_lead.lead[100] | points}   a number (here of the table gnn-lead)
    %% if flowers                       a condition or a loop, on a line of its own

A number, table, figure or answer that is missing stops the program with an error.
"""

import hashlib
import json
import math
import re
import shutil
import sys
from pathlib import Path

import jinja2
import pandas as pd
from nbconvert.filters import escape_latex
from notebooks import NAMES, Notebooks
from pygments import highlight
from pygments.formatters import LatexFormatter
from pygments.lexers import PythonLexer

WRITTEN = Path(__file__).resolve().parent
MARKER = re.compile(r"\s*# (>>>|<<<) answer")


def minus(text: str) -> str:
    """Write a minus sign for each hyphen before a number, and no minus before a zero."""
    text = re.sub(r"-(0(\.0*)?)(?![\d.])", r"\1", text)
    return re.sub(r"(?<!\w)-(?=[\d ])", "$-$", text)


def number(value: float, form: str = ".3f") -> str:
    """A number as LaTeX, in one of Python's formats."""
    if not math.isfinite(value):
        raise ValueError(f"the report asks for a number and gets {value}")
    return minus(format(value, form))


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in percent, without the sign."""
    return number(100 * fraction, f".{digits}f")


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return number(100 * difference, "+.1f")


def table(data: pd.DataFrame, columns: dict[str, str], layout: str | None = None) -> str:
    """A table as LaTeX: the header of each column, and how it writes the values of a row.

    ``{"Lead": "{lead:+.1%}"}`` makes one column; percent signs are left out of the numbers.
    """
    rows = []
    for row in data.reset_index().to_dict("records"):
        texts = [form.format(**row).replace("%", "") for form in columns.values()]
        rows.append([minus(escape_latex(text)) for text in texts])
    cells = pd.DataFrame(rows, columns=[minus(escape_latex(head)) for head in columns])
    cells = cells.replace("nan", "--")  # a value that does not exist
    layout = layout or "l" + "r" * (len(columns) - 1)
    return cells.to_latex(index=False, column_format=f"@{{}}{layout}@{{}}")


def markdown(text: str) -> str:
    """A paragraph of Markdown with bold, emphasis and code as LaTeX."""
    text = minus(escape_latex(" ".join(text.split()))).replace(r" \%", r"\,\%")
    text = re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)
    text = re.sub(r"\*(.+?)\*", r"\\emph{\1}", text)
    return re.sub(r"`(.+?)`", r"\\texttt{\1}", text)


def listing(source: str) -> str:
    """Code as LaTeX, without the markers; the lines between them are highlighted.

    If there are no markers, all of the code is ours and is highlighted.
    """
    lines, answers = [], []
    inside = not MARKER.search(source)
    for line in source.splitlines():
        if marker := MARKER.match(line):
            inside = marker[1] == ">>>"
        elif line.strip() or lines[-1].strip():  # only one empty line after another
            lines.append(line)
            if inside and line.strip():
                answers.append(str(len(lines)))
    starts = [0]
    if len(lines) > 30:  # then a page may end before a method, except before the first one
        starts += [k for k, line in enumerate(lines) if line.startswith("    def ")][1:]
    parts = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        options = f"numbers=left,firstnumber={start + 1},highlightlines={{{','.join(answers)}}}"
        part = "\n".join(lines[start:end])
        parts.append(highlight(part, PythonLexer(), LatexFormatter(verboptions=options)))
    return "".join(parts)


def environment(notebooks: Notebooks) -> jinja2.Environment:
    """The templates, with the tables and functions that they use."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WRITTEN, encoding="utf-8"),
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        comment_start_string=r"\COMMENT{",
        comment_end_string="}",
        line_statement_prefix="%%",
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {
        "number": number,
        "percent": percent,
        "points": points,
        "table": table,
    }
    templates.globals |= notebooks.tables() | {
        "answer": lambda tag: markdown(notebooks.displayed(tag, "text/markdown")),
        "log": notebooks.log,
        "listing": lambda name: listing(notebooks.code(name)),
        "listing_style": LatexFormatter().get_style_defs(),
    }
    return templates


def digest(folder: Path) -> str:
    """SHA-256 of all that the report is made from; the PDF file stores it."""
    sources = [folder / name for name in NAMES]
    for kind in ("*.py", "*.json", "*.bib", "**/*.tex"):
        sources += sorted(WRITTEN.glob(kind))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def fill_report(folder: Path, output: Path) -> None:
    """Write to ``output`` the LaTeX of the report on the notebooks in ``folder``."""
    notebooks = Notebooks(folder)
    plateau = json.loads((WRITTEN / "plateau.json").read_text("utf-8"))

    def figure(tag: str) -> str:
        """Write a figure beside the LaTeX; return its name."""
        (output / f"{tag}.pdf").write_bytes(notebooks.figure(tag))
        return tag

    templates = environment(notebooks)
    templates.globals |= {
        "plateau": pd.DataFrame(plateau),
        "figure": figure,
        "digest": digest(folder),
    }
    for path in WRITTEN.glob("**/*.tex"):
        name = path.relative_to(WRITTEN).as_posix()
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(templates.get_template(name).render(), encoding="utf-8")
    shutil.copy(WRITTEN / "references.bib", output)


def main() -> None:
    """Fill the report that the command line names."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    fill_report(Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
