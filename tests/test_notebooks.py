"""The notebooks as they are stored: their outputs are fresh and whole, and become a PDF."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import execute
import nbformat
import pypandoc
import pypdfium2
import pytest
from definitions import ROOT

ANSWERS = {"a4-gnn.ipynb": ["3.1", "3.2", "3.4"], "a4-unet.ipynb": ["4.1"]}
# a folder of the machine that ran the notebook
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(home|root|tmp|work|mnt|Users|content|var|opt)/|[A-Z]:\\"
)


@pytest.fixture(scope="module", params=list(ANSWERS))
def path(request):
    return ROOT / request.param


@pytest.fixture(scope="module")
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_notebook_is_valid_and_small(path, notebook):
    nbformat.validate(notebook)
    assert path.stat().st_size < 3_000_000


def test_stored_outputs_belong_to_the_code(notebook):
    assert notebook.metadata.get("code_digest") == execute.code_digest(notebook), "run make"


def test_cells_were_executed_in_order(code_cells):
    counts = [cell.execution_count for cell in code_cells]
    assert counts == list(range(1, len(code_cells) + 1))


def test_no_errors_and_no_warnings_are_stored(code_cells):
    for cell in code_cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.text


def test_outputs_show_no_path_of_a_machine(code_cells):
    for cell in code_cells:
        for output in cell.outputs:
            texts = [output.get("text", "")]
            texts += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
            for text in texts:
                assert not MACHINE_PATH.search(text), text


def test_no_line_is_cut_when_the_notebook_is_printed(code_cells):
    for cell in code_cells:
        printed = "".join(output.get("text", "") for output in cell.outputs)
        for line in (cell.source + "\n" + printed).splitlines():
            assert len(line) <= 80, line


def test_every_question_has_its_marked_answer(path, code_cells):
    answers = []
    for cell in code_cells:
        marks = re.findall(r"(?m)^\s*# (>>>|<<<) answer (\S+)$", cell.source)
        for begin, end in zip(marks[::2], marks[1::2], strict=True):
            assert (begin[0], end) == (">>>", ("<<<", begin[1]))
            answers.append(begin[1])
    assert sorted(set(answers)) == ANSWERS[path.name]


def functions(name):
    """Text of the functions that a notebook defines, by name."""
    found = {}
    for cell in nbformat.read(ROOT / name, as_version=4).cells:
        if cell.cell_type == "code" and "definitions" in cell.metadata.get("tags", []):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef):
                    found[node.name] = ast.get_source_segment(cell.source, node)
    return found


def test_both_notebooks_share_their_helpers_word_for_word():
    gnn, unet = map(functions, ANSWERS)
    for name in ("fetch", "show", "run_parallel", "count_parameters"):
        assert gnn[name] == unet[name]


# --- the export to PDF -----------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("xelatex"), reason="the export needs TeX")
def test_notebook_exports_to_pdf_without_loss(path, tmp_path):
    pandoc = Path(shutil.which("pandoc") or pypandoc.get_pandoc_path()).parent
    command = [sys.executable, "-m", "nbconvert", "--to", "pdf", "--PDFExporter.verbose=True"]
    run = subprocess.run(
        [*command, "--output-dir", tmp_path, path],
        env=os.environ | {"PATH": f"{pandoc}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert not re.findall(r"Missing character.*", run.stdout + run.stderr)
    with pypdfium2.PdfDocument(tmp_path / f"{path.stem}.pdf") as pdf:
        pages = [page.get_textpage().get_text_range() for page in pdf]
    assert len(pages) >= 10
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pages)


# --- the digest of the code ------------------------------------------------------------------

CODE = '''
import math  # for the root


def root(x):
    """Square root."""
    # as the library has it
    return math.sqrt(x)


%matplotlib inline
print(f"# {root(4):.1f}")
'''


def digest(source, text="Title"):
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(source)]
    return execute.code_digest(nbformat.v4.new_notebook(cells=cells))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# for the root", "# for roots"),
        ("  # for the root", ""),
        ('"""Square root."""', '"""The square root\n\n    of a number.\n    """'),
        ("    # as the library has it\n", "\n"),
    ],
)
def test_comments_and_docstrings_do_not_change_the_digest(old, new):
    assert old in CODE
    assert digest(CODE.replace(old, new), text="Another title") == digest(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sqrt(x)", "sqrt(x + 0)"),
        ('"# {', '"## {'),
        ("%matplotlib inline", "%matplotlib agg"),
        ("    return", "    x += 1\n    return"),
    ],
)
def test_code_strings_and_magics_change_the_digest(old, new):
    assert old in CODE
    assert digest(CODE.replace(old, new)) != digest(CODE)
