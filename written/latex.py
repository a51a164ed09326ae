"""Text, tables, listings and logs as LaTeX."""

import re

from listings import MARKER, Listing
from pygments import highlight
from pygments.formatters import LatexFormatter
from pygments.lexers import PythonLexer

Table = tuple[list[str], list[list[str]]]  # header and rows; an empty row is a rule

SPECIAL = {c: "\\" + c for c in "&%#_{}$"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "\N{NO-BREAK SPACE}": "~",
    "≤": r"$\leq$",  # the text font lacks these
    "≥": r"$\geq$",
    "→": r"$\to$",
}


def escape(text: str) -> str:
    """Plain text with the characters that LaTeX would read as commands made harmless."""
    return "".join(SPECIAL.get(c, c) for c in text)


def paragraph(text: str) -> str:
    """One paragraph of Markdown (bold, emphasis, code, $mathematics$) as LaTeX."""
    pieces = re.split(r"(\$[^$]+\$|`[^`]+`)", text)
    for i, piece in enumerate(pieces):
        if piece.startswith("`"):
            pieces[i] = rf"\texttt{{{escape(piece.strip('`'))}}}"
        elif not piece.startswith("$"):
            piece = re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", escape(piece))
            pieces[i] = re.sub(r"\*(.+?)\*", r"\\emph{\1}", piece)
    return "".join(pieces)


def tabular(table: Table) -> str:
    """A table between booktabs rules; a comma in the header breaks the line."""
    header, rows = table
    heads = [r"\shortstack[l]{" + escape(cell).replace(", ", r"\\") + "}" for cell in header]
    lines = [" & ".join(map(paragraph, row)) + r" \\" if row else r"\midrule" for row in rows]
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


def verbatim(lines: list[str]) -> str:
    """Lines of a log as they were printed."""
    return "\\begin{Verbatim}\n" + "\n".join(lines) + "\n\\end{Verbatim}\n"


def listing(piece: Listing, helper: bool = False) -> str:
    """A listing with its answers, or all of a helper, on a coloured ground, without markers."""
    answers = [] if helper else piece.answers
    lines = enumerate(piece.source.splitlines(), start=1)
    shown = [(number, line) for number, line in lines if not MARKER.match(line)]
    own = [
        new
        for new, (number, line) in enumerate(shown, start=1)
        if (number in answers if answers else line.strip())
    ]
    options = f"numbers=left,highlightlines={{{','.join(map(str, own))}}}"
    source = "\n".join(line for _, line in shown)
    return highlight(source, PythonLexer(), LatexFormatter(verboptions=options))


def styles() -> str:
    """The commands that the listings use."""
    return LatexFormatter().get_style_defs()
