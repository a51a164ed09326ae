"""The notebooks as they are stored: executed, whole, clean, and short enough to be read."""

import ast
import re

import lift
import nbformat
import pytest
from definitions import ROOT

EXPECTED_LISTINGS = {
    "a4-gnn.ipynb": ["GraphConvolution", "GCN", "GraphAttentionLayer", "GAT"],
    "a4-unet.ipynb": ["Down", "Up", "UNet"],
}
EXPECTED_ANSWERS = {"a4-gnn.ipynb": {"3.1", "3.2", "3.4"}, "a4-unet.ipynb": {"4.1"}}
# a home folder or a temporary folder of the machine that ran the notebook
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(home|root|tmp|work|mnt|Users|content|var|opt)/|[A-Z]:\\"
)


@pytest.fixture(scope="module", params=lift.NOTEBOOKS)
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


def test_cells_were_executed_in_order(code_cells):
    counts = [cell.execution_count for cell in code_cells]
    assert counts == list(range(1, len(code_cells) + 1))


def test_no_errors_and_nothing_on_stderr(code_cells):
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


def test_definition_cells_print_nothing_and_run_nothing(code_cells):
    """Those cells are loaded as a module by the tests, so they may only import and define."""
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.ClassDef,
        ast.FunctionDef,
        ast.Assign,
        ast.AnnAssign,
    )
    for cell in code_cells:
        if "definitions" in lift.tags(cell):
            assert not cell.outputs
            for node in ast.parse(cell.source).body:
                docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                assert isinstance(node, allowed) or docstring, ast.unparse(node)


def test_answer_markers_enclose_code_for_every_question(path, code_cells):
    answered = set()
    for cell in code_cells:
        if lift.answer_lines(cell.source):  # raises where the markers do not pair up
            answered |= {
                match[2] for match in map(lift.MARKER.match, cell.source.splitlines()) if match
            }
    assert answered == EXPECTED_ANSWERS[path.name]


def test_every_listing_of_the_report_has_marked_lines(path, notebook):
    for name in EXPECTED_LISTINGS[path.name]:
        assert lift.answer_lines(lift.listing(notebook.cells, name)), name


def test_lines_fit_the_page(code_cells):
    for cell in code_cells:
        for line in cell.source.splitlines():
            assert len(line) <= 96, line


@pytest.mark.parametrize(
    ("name", "tag", "most"),
    [
        ("a4-gnn.ipynb", "answer-3.6", 3),
        ("a4-unet.ipynb", "answer-4.2", 3),
    ],
)
def test_final_answers_keep_to_the_sentence_limit(name, tag, most):
    cell = lift.tagged(nbformat.read(ROOT / name, as_version=4).cells, tag)
    assert 1 <= lift.sentences(lift.markdown(cell)) <= most


def test_result_lines_are_unique(notebook):
    """Each result is printed once; a key is everything but the measured values."""
    lines = [tuple(sorted(line.items())) for line in lift.results(notebook.cells)]
    assert lines
    assert len(lines) == len(set(lines))


def test_sentence_count_on_worked_examples():
    assert lift.sentences("One. Two! Three?") == 3
    assert lift.sentences("GCN reaches 81.5 % on 20 seeds.") == 1


def test_unbalanced_markers_are_refused():
    for source in (
        "# >>> answer 3.1\nx = 1",
        "x = 1\n# <<< answer 3.1",
        "# >>> answer 3.1\nx = 1\n# <<< answer 3.2",
        "# >>> answer 3.1\n# >>> answer 3.1\nx = 1\n# <<< answer 3.1",
    ):
        with pytest.raises(ValueError, match="answer"):
            lift.answer_lines(source)
    assert lift.answer_lines("a\n# >>> answer 3.1\nb\n\nc\n# <<< answer 3.1\nd") == [3, 5]
