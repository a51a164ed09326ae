"""The report as it is committed, and the report as it would be built now."""

import re
import shutil
import subprocess
import sys
import unicodedata

import lift
import pytest
from definitions import ROOT
from pypdf import PdfReader
from pypdf.generic import IndirectObject

QUESTIONS = (
    "1.1.1 1.1.2 1.2.1 1.3.1 1.3.2 1.3.3 1.4.1 1.4.2 2.1.1 3.1 3.2 3.3 3.4 3.5 3.6 4.1 4.2"
)


@pytest.fixture(scope="module")
def pdf():
    return PdfReader(ROOT / "written" / "a4-writeup.pdf")


@pytest.fixture(scope="module")
def pages(pdf):
    texts = [
        unicodedata.normalize("NFKC", page.extract_text()) for page in pdf.pages
    ]  # no ligatures
    return [re.sub(r"\s+", " ", text) for text in texts]


@pytest.fixture(scope="module")
def cells():
    return dict(zip(lift.NOTEBOOKS, lift.read_cells(ROOT), strict=True))


@pytest.fixture(scope="module")
def lifted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    lift.lift(ROOT, folder / "build" / "written" / "lifted")
    return folder


def test_report_was_built_from_what_is_in_the_repository(pdf):
    assert pdf.metadata["/SourceDigest"] == lift.digest(ROOT), "run `make pdf`"


def test_digest_changes_with_a_notebook(tmp_path):
    for name in lift.NOTEBOOKS:
        shutil.copy(ROOT / name, tmp_path)
    assert lift.digest(tmp_path) == lift.digest(ROOT)
    with (tmp_path / lift.NOTEBOOKS[0]).open("a") as notebook:
        notebook.write("\n")
    assert lift.digest(tmp_path) != lift.digest(ROOT)


def outline(items):
    """All titles of the bookmarks, at any depth."""
    for item in items:
        if isinstance(item, list):
            yield from outline(item)
        else:
            yield item.title


@pytest.mark.parametrize("question", QUESTIONS.split())
def test_every_question_has_a_heading_and_the_front_page_points_to_it(pdf, pages, question):
    assert any(title.startswith(f"{question} ") for title in outline(pdf.outline))
    row = re.search(rf"(?<![\d.]){re.escape(question)} \D.*? [\d.]+ (\d+)(?= |$)", pages[0])
    assert row, f"question {question} is not on the first page"
    assert re.search(rf"(?<![\d.]){re.escape(question)} \D", pages[int(row[1]) - 1])


def test_sections_carry_the_names_that_the_handout_asks_for(pdf):
    titles = " | ".join(outline(pdf.outline))
    assert "Graph Convolution Networks" in titles
    assert "U-Nets" in titles


def test_tables_of_the_report_show_the_result_lines(pages, cells):
    text = " ".join(pages).replace(" ", "")
    gnn, unet = (lift.results(cells[name]) for name in lift.NOTEBOOKS)
    for _, rows in (lift.gnn_table(gnn), lift.unet_table(unet)):
        for value in (value for row in rows for value in row[1:]):
            assert value.replace(" ", "") in text, value


def test_final_epochs_and_test_lines_are_in_the_report(pages, cells):
    text = " ".join(pages).replace(" ", "")
    for tag in ("log-gcn", "log-gat"):
        lines = lift.last_epochs(lift.stdout(lift.tagged(cells["a4-gnn.ipynb"], tag)))
        assert len(lines) > 10
        for line in lines:
            assert re.sub(r"\s", "", line) in text, line


def test_answers_are_in_the_report(pages, cells):
    text = re.sub(r"\W", "", "".join(pages))
    for name, tag in (("a4-gnn.ipynb", "answer-3.6"), ("a4-unet.ipynb", "answer-4.2")):
        answer = re.sub(r"\$[^$]*\$", "", lift.markdown(lift.tagged(cells[name], tag)))
        for words in re.findall(r"[A-Za-z ]{25,}", answer):
            assert words.replace(" ", "") in text, words


def test_listings_highlight_exactly_the_answer_lines(cells, lifted):
    for name in lift.LISTINGS:
        source = lift.listing([*cells["a4-gnn.ipynb"], *cells["a4-unet.ipynb"]], name)
        tex = (lifted / "build" / "written" / "lifted" / f"listing-{name}.tex").read_text(
            "utf-8"
        )
        marked = re.search(r"highlightlines=\{([\d,]+)\}", tex)[1].split(",")
        lines = source.splitlines()
        inside = False
        for number, line in enumerate(lines, start=1):
            if lift.MARKER.match(line):
                inside = ">>>" in line
            else:
                assert (str(number) in marked) == (inside and bool(line.strip())), line


def test_report_shows_as_many_highlighted_lines_as_the_answers_have(pdf, cells):
    """Each highlighted line is one filled box; a line that ran on would add a second one."""
    box = re.compile(r"0\.867 0\.922 0\.969 rg q [-\d.]+ [-\d.]+ [\d.]+ [\d.]+ re f")
    drawn = sum(
        len(box.findall(p.get_contents().get_data().decode("latin1"))) for p in pdf.pages
    )
    both = [cell for notebook in cells.values() for cell in notebook]
    answers = [lift.answer_lines(lift.listing(both, name)) for name in lift.LISTINGS]
    assert drawn == sum(map(len, answers)) > 0


def test_report_prints_every_line_of_the_listings(pages, cells):
    text = re.sub(r"\s", "", "".join(pages))
    for name in lift.LISTINGS:
        source = lift.listing([*cells["a4-gnn.ipynb"], *cells["a4-unet.ipynb"]], name)
        for line in re.findall(r"^ *(?:def|return|self\.\w+ =) [\w.= (]+", source, re.M):
            assert re.sub(r"\s", "", line) in text, line


def fonts(pdf):
    """Descriptors of every font that a page uses."""
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            font = font.get_object() if isinstance(font, IndirectObject) else font
            for part in font.get("/DescendantFonts", [font]):
                yield part.get_object()


def test_fonts_are_embedded(pdf):
    for font in fonts(pdf):
        if font["/Subtype"] != "/Type3":  # a Type 3 font is drawn by the file itself
            descriptor = font["/FontDescriptor"].get_object()
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor), font


def test_file_is_small_titled_and_of_sensible_length(pdf):
    assert (ROOT / "written" / "a4-writeup.pdf").stat().st_size < 5_000_000
    assert "Assignment 4" in pdf.metadata.title
    assert pdf.metadata.author
    assert 12 <= len(pdf.pages) <= 60
    for page in pdf.pages:  # A4, in points
        assert [round(float(x)) for x in page.mediabox[2:]] == [595, 842]


@pytest.mark.skipif(not shutil.which("latexmk"), reason="TeX is not installed")
def test_report_builds_without_undefined_references_or_overfull_lines(lifted):
    shutil.copytree(ROOT / "written", lifted / "written", dirs_exist_ok=True)
    (lifted / "written" / "a4-writeup.pdf").unlink()
    subprocess.run(
        [sys.executable, "proof_figures.py", "../build/written"],
        cwd=lifted / "written",
        check=True,
    )
    command = "latexmk -xelatex -quiet -halt-on-error -outdir=../build/written a4-writeup.tex"
    run = subprocess.run(
        command.split(), cwd=lifted / "written", capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:]
    log = (lifted / "build" / "written" / "a4-writeup.log").read_text("utf-8", errors="replace")
    assert "undefined" not in "\n".join(re.findall(r"^.*Warning.*$", log, re.M))
    wide = [float(w) for w in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0.0) <= 2.0
    assert "Missing character" not in log
