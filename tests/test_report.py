"""The report: it builds from every kind of notebooks, and every question has its answer."""

import io
import json
import re
import shutil
import subprocess
import unicodedata

import fill
import jinja2
import nbformat
import pandas as pd
import pypdfium2
import pytest
import readme
from definitions import ROOT
from notebooks import NAMES, Notebooks

QUESTIONS = (
    *("1.1.1", "1.1.2", "1.2.1", "1.3.1", "1.3.2", "1.3.3", "1.4.1", "1.4.2", "2.1.1"),
    *("3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "4.1", "4.2"),
)
CODE = {
    "3.1": ["GraphConvolution"],
    "3.2": ["GCN"],
    "3.4": ["GraphAttentionLayer"],
    "4.1": ["Down", "Up", "UNet"],
}
FIGURES = {"4.2": ["Training curves with and without", "Final segmentations"]}


# --- notebooks like the stored ones ----------------------------------------------------------


def shown_tables(notebook):
    """The outputs that are tables."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "table" in output.get("metadata", {}):
                yield output


def change_table(output, change):
    """Replace the table of an output by ``change(table)``."""
    data = io.StringIO(json.dumps(output.metadata.table))
    table = change(pd.read_json(data, orient="table", precise_float=True))
    output.metadata.table = json.loads(table.to_json(orient="table"))


def clear_output(notebook, tag):
    for cell in notebook.cells:
        if tag in cell.metadata.get("tags", []):
            cell.outputs = []


def remove_flowers(notebook):
    """Make a notebook look as if the flowers had not been there."""

    def change(table):
        if "dataset" in table.columns:
            return table[table.dataset != "flowers"]
        columns = [column for column in table.columns if "flowers" not in column]
        return table.loc[table.index != "flowers", columns]

    for output in shown_tables(notebook):
        change_table(output, change)
    clear_output(notebook, "figure-unet-flowers")


def shorten(notebook):
    """Name the epochs of the GNN notebook as in the quick preset."""
    epochs = {100: 25, 200: 50, 400: 100, 800: 200}
    columns = {}
    for kind in ("epochs", "gain", "half"):
        for long, short in epochs.items():
            columns[f"{kind}_{long}"] = f"{kind}_{short}"

    def change(table):
        if "epochs" in table.columns:
            table = table.replace({"epochs": epochs})
        return table.rename(columns=columns, index=epochs)

    for output in shown_tables(notebook):
        if output.metadata.name.startswith("gnn-"):
            change_table(output, change)


def copy_notebooks(folder, *changes):
    """Write the stored notebooks to a folder, changed."""
    folder.mkdir()
    for name in NAMES:
        notebook = nbformat.read(ROOT / name, as_version=4)
        for change in changes:
            change(notebook)
        nbformat.write(notebook, folder / name)
    return folder


# --- the report as a reader sees it ----------------------------------------------------------


def tight(text):
    """Text without what typesetting changes: spaces, hyphens, minus signs, quotes."""
    return re.sub(r"[\s\x02\xad'’−-]", "", unicodedata.normalize("NFKC", text))


def sections(pdf):
    """The text from each heading to the next, without spaces, by title."""
    text = ""
    for page in pdf:
        page_text = page.get_textpage().get_text_bounded()
        text += tight(re.sub(r"\d+\s*$", "", page_text))  # without the page number
    titles = [mark.get_title() for mark in pdf.get_toc()]
    found, start = {}, 0
    for title in titles:
        start = text.index(tight(title), start)
        found[title] = start
    ends = [*list(found.values())[1:], len(text)]
    return {
        title: text[start:end] for (title, start), end in zip(found.items(), ends, strict=True)
    }


CHANGES = {"full": [], "quick, without flowers": [shorten, remove_flowers]}


@pytest.fixture(scope="module", params=CHANGES)
def built(request, tmp_path_factory):
    """The notebooks, the report made from them and TeX's log."""
    if not shutil.which("latexmk"):
        pytest.skip("TeX is not installed")
    folder = tmp_path_factory.mktemp("report")
    notebooks = copy_notebooks(folder / "notebooks", *CHANGES[request.param])
    command = ["sh", "written/build.sh", notebooks, folder / "report.pdf"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    log = (folder / "report.log").read_text("utf-8", errors="replace")
    return Notebooks(notebooks), pypdfium2.PdfDocument(folder / "report.pdf"), log


def test_builds_without_warnings(built):
    _, _, log = built
    assert re.findall(r"^.*(?:Warning|Overfull|Missing character).*$", log, re.M) == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_its_answer(built, question):
    notebooks, pdf, _ = built
    (text,) = [t for title, t in sections(pdf).items() if title.startswith(f"{question} ")]
    expected = FIGURES.get(question, [])
    if question[0] in "12":
        expected = ["Answer."]
    if question in ("3.3", "3.5"):
        log = notebooks.log("log-gcn" if question == "3.3" else "log-gat")
        expected = log.splitlines()
        assert len(expected) > 10
    if question in ("3.6", "4.2"):
        answer = notebooks.displayed(f"answer-{question}", "text/markdown")
        expected = ["Answer. " + re.sub(r"[*`]", "", answer), *expected]
    for name in CODE.get(question, []):
        code = notebooks.code(name).splitlines()
        expected += [line for line in code if not fill.MARKER.match(line)]
    for line in expected:
        assert tight(line) in text, line


def test_flowers_are_shown_if_they_are_there(built):
    notebooks, pdf, _ = built
    text = "".join(sections(pdf).values())
    assert ("Finalsegmentationsoftestflowers" in text) == (
        "flowers" in notebooks.tables()["unet_data"].index
    )


# --- what comes from the notebooks -----------------------------------------------------------


def set_lead(table):
    table.loc[table.index[0], "lead"] = 0.4567
    return table


def set_nothing(table):
    table.loc[table.index[0], "lead"] = None
    return table


def change_lead(change):
    def change_notebook(notebook):
        for output in shown_tables(notebook):
            if output.metadata.name == "gnn-lead":
                change_table(output, change)

    return change_notebook


def test_a_number_changed_in_a_notebook_changes_in_report_and_readme(tmp_path):
    changed = copy_notebooks(tmp_path / "notebooks", change_lead(set_lead))
    for number, folder in enumerate((ROOT, changed)):
        fill.fill_report(folder, tmp_path / str(number))
    name = "sections/q3-graph-networks.tex"
    assert "+45.7" not in (tmp_path / "0" / name).read_text("utf-8")
    assert "+45.7" in (tmp_path / "1" / name).read_text("utf-8")
    assert "+45.7" in readme.results(changed)


FAULTS = {
    "figure": lambda notebook: clear_output(notebook, "figure-gnn-curves"),
    "answer": lambda notebook: clear_output(notebook, "answer-3.6"),
    "log": lambda notebook: clear_output(notebook, "log-gat"),
    "column": change_lead(lambda table: table.drop(columns="lead")),
    "row": change_lead(lambda table: table.rename(index={table.index[0]: 7})),
    "value": change_lead(set_nothing),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing_stops_the_build(tmp_path, fault):
    notebooks = copy_notebooks(tmp_path / "notebooks", FAULTS[fault])
    with pytest.raises((ValueError, jinja2.UndefinedError)):
        fill.fill_report(notebooks, tmp_path / "output")


# --- what is stored --------------------------------------------------------------------------


def test_stored_report_is_made_from_what_is_stored():
    pdf = pypdfium2.PdfDocument(ROOT / "written" / "a4-writeup.pdf")
    assert pdf.get_metadata_value("SourceDigest") == fill.digest(ROOT), "run `make pdf`"


def test_readme_shows_the_stored_results():
    text = (ROOT / "README.md").read_text("utf-8")
    assert readme.refresh(text, readme.results(ROOT)) == text, "run `make pdf`"


def test_picture_does_without_the_flowers(tmp_path):
    notebooks = copy_notebooks(tmp_path / "notebooks", remove_flowers)
    readme.draw(Notebooks(notebooks).tables(), tmp_path / "findings.png")
    assert (tmp_path / "findings.png").stat().st_size > 10_000
