"""Stores how the lead of the skip connections changes when training goes on twice as long.

Usage: python written/plateau.py NOTEBOOK

NOTEBOOK is a4-unet.ipynb as executed with A4_LONGER=2 (`make plateau`). Its lines `RESULT
plateau` and `RESULT gain` go to written/plateau.txt, from which the report takes them.
"""

import sys
from pathlib import Path

import nbformat
from notebooks import stdout

STORED = Path(__file__).with_name("plateau.txt")


def plateau_lines(notebook: Path) -> list[str]:
    """The lines `RESULT plateau ...` and `RESULT gain ...` that a notebook printed, in order.

    Raises:
        ValueError: there is no `RESULT plateau`, as the run was not a longer one.
    """
    lines = "".join(map(stdout, nbformat.read(notebook, as_version=4).cells)).splitlines()
    found = [x for x in lines if x.startswith(("RESULT plateau ", "RESULT gain "))]
    if not any(x.startswith("RESULT plateau ") for x in found):
        raise ValueError(f"{notebook.name}: no 'RESULT plateau', run it with A4_LONGER=2")
    return found


def main(notebook: str) -> None:
    """Write the lines of one notebook, under a line that says what they are."""
    lines = plateau_lines(Path(notebook))
    head = "# The lead of skip connections in a4-unet.ipynb, trained with A4_LONGER=2"
    STORED.write_text("\n".join([head, *lines]) + "\n")
    print(f"{STORED.name}: {len(lines)} lines")


if __name__ == "__main__":
    main(*sys.argv[1:])
