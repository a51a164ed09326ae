"""The notebooks as they are stored: executed, whole, clean, and short enough to be read."""

import ast
import re

import nbformat
import notebooks
import pytest
from definitions import ROOT, sentences
from lift import LISTINGS
from listings import MARKER, answer_lines, definitions

EXPECTED_ANSWERS = {"a4-gnn.ipynb": {"3.1", "3.2", "3.4"}, "a4-unet.ipynb": {"4.1"}}
# a home folder or a temporary folder of the machine that ran the notebook
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(home|root|tmp|work|mnt|Users|content|var|opt)/|[A-Z]:\\"
)


@pytest.fixture(scope="module", params=notebooks.NAMES)
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
        if "definitions" in notebooks.tags(cell):
            assert not cell.outputs
            for node in ast.parse(cell.source).body:
                docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                assert isinstance(node, allowed) or docstring, ast.unparse(node)


def test_answer_markers_enclose_code_for_every_question(path, code_cells):
    answered = set()
    for cell in code_cells:
        if answer_lines(cell.source):  # raises where the markers do not pair up
            answered |= {
                match[2] for match in map(MARKER.match, cell.source.splitlines()) if match
            }
    assert answered == EXPECTED_ANSWERS[path.name]


def test_every_class_that_the_report_lists_has_marked_lines(path, notebook):
    defined = definitions(notebook.cells)
    for name in LISTINGS[notebooks.NAMES.index(path.name)]:
        is_class = defined[name].source.startswith("class ")
        assert bool(defined[name].answers) == is_class, name


def code_lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def test_notebook_is_short_enough_to_be_read(code_cells):
    """At most 650 lines of code, no cell over 30 but one, the first answer in ten cells."""
    lengths = sorted(len(code_lines(cell)) for cell in code_cells)
    assert sum(lengths) <= 650
    assert lengths[-2] <= 30
    first = next(i for i, cell in enumerate(code_cells, 1) if answer_lines(cell.source))
    assert first <= 10


def test_lines_fit_the_page(code_cells):
    for cell in code_cells:
        for line in cell.source.splitlines():
            assert len(line) <= 96, line


def test_answer_is_two_sentences_of_at_most_sixty_words(path, notebook):
    tag = {"a4-gnn.ipynb": "answer-3.6", "a4-unet.ipynb": "answer-4.2"}[path.name]
    answer = notebooks.answer(notebook.cells, tag)
    assert 1 <= sentences(answer) <= 2
    assert len(answer.split()) <= 60


def test_sentence_count_on_worked_examples():
    assert sentences("One. Two! Three?") == 3
    assert sentences("GCN reaches 81.5 % on 20 seeds.") == 1


SETTINGS = {"seed", "seeds", "epochs", "width", "lr", "lr_pair"}  # numbers that are no result


def result_key(line):
    """What a RESULT line is about: all but the numbers that were measured."""
    return frozenset(
        (name, value)
        for name, value in line.items()
        if name in SETTINGS or not re.fullmatch(r"-?[\d.]+", value)
    )


def test_result_lines_are_unique(notebook):
    """Each thing is reported once: no two lines are about the same thing."""
    keys = [result_key(line) for line in notebooks.results(notebook.cells)]
    assert keys
    assert {dict(key)["kind"]: sorted(key) for key in keys if keys.count(key) > 1} == {}


def test_result_keys_leave_out_what_was_measured():
    first, same, other = notebooks.parse_results(
        "RESULT gain dataset=nuclei epochs=5 lead=0.1430\n"
        "RESULT gain dataset=nuclei epochs=5 lead=-0.0010\n"
        "RESULT gain dataset=nuclei epochs=8 lead=0.1430\n"
    )
    assert result_key(first) == result_key(same) != result_key(other)


def test_unbalanced_markers_are_refused():
    for source in (
        "# >>> answer 3.1\nx = 1",
        "x = 1\n# <<< answer 3.1",
        "# >>> answer 3.1\nx = 1\n# <<< answer 3.2",
        "# >>> answer 3.1\n# >>> answer 3.1\nx = 1\n# <<< answer 3.1",
    ):
        with pytest.raises(ValueError, match="answer"):
            answer_lines(source)
    assert answer_lines("a\n# >>> answer 3.1\nb\n\nc\n# <<< answer 3.1\nd") == [3, 5]
