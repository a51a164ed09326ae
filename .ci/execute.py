"""Execute notebooks; store with the outputs to which code they belong."""

import argparse
import ast
import copy
import hashlib
import io
import os
import sys
import time
import tokenize
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError


def code_lines(source: str) -> list[str]:
    """Lines of a cell, without comments, docstrings and blank lines."""
    lines = source.splitlines()
    # Python's own parsers do not know lines like "%matplotlib inline".
    python = "\n".join(
        "" if line.startswith(("%", "!")) else line for line in lines
    )
    for token in tokenize.generate_tokens(io.StringIO(python).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(python)):
        is_block = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if is_block and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            for row in range(docstring.lineno, docstring.end_lineno + 1):
                lines[row - 1] = ""
    return [line.rstrip() for line in lines if line.strip()]


def code_digest(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of a notebook's code, without comments and docstrings.

    It uses the text of the code, because syntax trees differ between versions
    of Python.
    """
    lines = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines += code_lines(cell.source)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def execute(source: Path, output: Path, quick: bool) -> None:
    """Execute a notebook from top to bottom; write it when it has finished."""
    notebook = nbformat.read(source, as_version=4)
    metadata = copy.deepcopy(notebook.metadata)
    folder = {"metadata": {"path": str(source.resolve().parent)}}
    os.environ["A4_QUICK"] = "1" if quick else "0"
    client = NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources=folder,
    )
    for attempt in (1, 2, 3):
        try:
            client.execute()
            break
        except RuntimeError as error:
            # Rarely, another program takes the port chosen for the kernel.
            if attempt == 3 or "died before replying" not in str(error):
                raise
    notebook.metadata = metadata  # not the versions of this machine
    notebook.metadata["code_digest"] = code_digest(notebook)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".part-{output.name}")
    nbformat.write(notebook, part)
    part.replace(output)


def main() -> None:
    """Execute the notebooks that the command line names, if necessary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--always", action="store_true", help="even if nothing has changed"
    )
    parser.add_argument(
        "--quick", action="store_true", help="with few seeds and epochs"
    )
    parser.add_argument(
        "--into", type=Path, help="folder for the executed notebooks"
    )
    parser.add_argument("notebooks", type=Path, nargs="+")
    arguments = parser.parse_args()
    for source in arguments.notebooks:
        notebook = nbformat.read(source, as_version=4)
        fresh = notebook.metadata.get("code_digest") == code_digest(notebook)
        if fresh and not arguments.always:
            print(f"{source}: the stored outputs belong to the code")
            continue
        print(f"{source}: running all cells", flush=True)
        start = time.monotonic()
        output = arguments.into / source.name if arguments.into else source
        try:
            execute(source, output, arguments.quick)
        except (CellExecutionError, DeadKernelError) as error:
            sys.exit(f"{source}: {error}")
        minutes = (time.monotonic() - start) / 60
        print(f"{source}: finished after {minutes:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
