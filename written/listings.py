"""Listings: what a notebook defines, the helpers that it calls, the lines that are answers."""

import ast
import re
from typing import NamedTuple

from nbformat import NotebookNode
from notebooks import tags

MARKER = re.compile(r"\s*# (>>>|<<<) answer ([\d.]+)$")


class Listing(NamedTuple):
    """A piece of a cell: its source, and the numbers, from 1, of the lines that are answers."""

    source: str
    answers: list[int]


def definitions(cells: list[NotebookNode]) -> dict[str, Listing]:
    """Each top-level class, function and constant of the ``definitions`` cells, by name.

    A listing has the comments directly above it, and all lines down to the next statement. Of
    a name that is defined again the last definition counts, as in the notebook.
    """
    listings: dict[str, Listing] = {}
    for cell in cells:
        if "definitions" not in tags(cell):
            continue
        lines, answers = cell.source.splitlines(), answer_lines(cell.source)
        body = ast.parse(cell.source).body
        starts = []
        for node in body:
            decorators = getattr(node, "decorator_list", [])
            start = min(part.lineno for part in [node, *decorators]) - 1
            while start and re.match("#(?! <<<)", lines[start - 1]):
                start -= 1
            starts.append(start)
        for node, start, end in zip(body, starts, [*starts[1:], len(lines)], strict=True):
            piece = "\n".join(lines[start:end]).rstrip()
            targets = getattr(node, "targets", [getattr(node, "target", node)])
            for name in (getattr(t, "name", getattr(t, "id", None)) for t in targets):
                if name:
                    marked = [n - start for n in answers if start < n <= end]
                    listings[name] = Listing(piece, marked)
    return listings


def with_helpers(name: str, listings: dict[str, Listing]) -> list[str]:
    """A name and, nearest first, all that its source uses of what the notebook defines.

    Raises:
        ValueError: if the notebook does not define the name.
    """
    if name not in listings:
        raise ValueError(f"no cell with the tag 'definitions' defines {name}")
    names = [name]
    for current in names:  # grows while it is read
        for node in ast.walk(ast.parse(listings[current].source)):
            if isinstance(node, ast.Name) and node.id in listings and node.id not in names:
                names.append(node.id)
    return names


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
