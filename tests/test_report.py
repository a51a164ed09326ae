"""The report: what it must hold, how its pages look, and that it builds without the flowers."""

import re
import shutil
import subprocess
import sys
import unicodedata

import latex
import lift
import listings
import nbformat
import notebooks
import numpy as np
import pypdfium2
import pytest
import tables
from definitions import ROOT

QUESTIONS = (
    "1.1.1 1.1.2 1.2.1 1.3.1 1.3.2 1.3.3 1.4.1 1.4.2 2.1.1 3.1 3.2 3.3 3.4 3.5 3.6 4.1 4.2"
)
WRITTEN = ROOT / "written"


@pytest.fixture(scope="module")
def pdf():
    return pypdfium2.PdfDocument(WRITTEN / "a4-writeup.pdf")


@pytest.fixture(scope="module")
def pages(pdf):
    texts = [page.get_textpage().get_text_bounded() for page in pdf]
    return [re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)) for text in texts]


@pytest.fixture(scope="module")
def both():
    return notebooks.read_cells(ROOT)


@pytest.fixture(scope="module")
def lines(both):
    return [notebooks.results(cells) for cells in both]


def outline(pdf):
    """Titles of the bookmarks, and the pages, from 1, that they point to."""
    return {mark.get_title(): mark.get_dest().get_index() + 1 for mark in pdf.get_toc()}


def running(pages):
    """The text of all pages, tight and without the page numbers between them."""
    return tight("".join(re.sub(r"\d+\s*$", "", page) for page in pages))


def tight(text):
    """Text without what line breaks and typesetting change: spaces, hyphens, quotes."""
    return re.sub(r"[\s\x02\xad'’-]", "", unicodedata.normalize("NFKC", text))


# --- what it holds ---------------------------------------------------------------------------


def test_report_was_built_from_what_is_in_the_repository(pdf):
    assert pdf.get_metadata_value("SourceDigest") == lift.digest(ROOT), "run `make pdf`"


def test_digest_changes_with_a_notebook(tmp_path):
    for name in notebooks.NAMES:
        shutil.copy(ROOT / name, tmp_path)
    assert lift.digest(tmp_path) == lift.digest(ROOT)
    with (tmp_path / notebooks.NAMES[0]).open("a") as notebook:
        notebook.write("\n")
    assert lift.digest(tmp_path) != lift.digest(ROOT)


@pytest.mark.parametrize("question", QUESTIONS.split())
def test_every_question_has_a_heading_and_the_front_page_points_to_it(pdf, pages, question):
    found = [page for title, page in outline(pdf).items() if title.startswith(f"{question} ")]
    row = re.search(rf"(?<![\d.]){re.escape(question)} \D.*? [\d.]+ (\d+)(?= |$)", pages[0])
    assert row, f"question {question} is not on the first page"
    assert found == [int(row[1])]


def test_sections_carry_the_names_that_the_handout_asks_for(pdf):
    titles = " | ".join(outline(pdf))
    assert "Graph Convolution Networks" in titles
    assert "U-Nets" in titles


def test_first_page_states_the_findings_and_leaves_room_for_a_name(pages, lines):
    assert "Name:" in pages[0]
    for sentence in (tables.finding_gnn(lines[0]), tables.finding_unet(lines[1])):
        assert tight(sentence) in tight(pages[0])


def test_tables_show_the_result_lines(pages, lines):
    text = running(pages)
    gnn, unet = lines
    shown = (tables.settings(gnn), tables.ladder(gnn), tables.public(gnn))
    for header, rows in (*shown, tables.settings(unet), tables.scores(unet)):
        assert len(header) <= 4
        assert sum(map(bool, rows)) <= 8
        for row in filter(None, rows):
            assert tight("".join(row)) in text, row
    assert tight(tables.plateau(lift.read_plateau())) in text


def test_final_epochs_and_test_lines_are_in_the_report(pages, both):
    text = running(pages)
    for tag in ("log-gcn", "log-gat"):
        log = notebooks.last_epochs(notebooks.stdout(notebooks.tagged(both[0], tag)))
        assert len(log) > 10
        for line in log:
            assert tight(line) in text, line


def test_each_section_opens_with_its_answer(pdf, pages, both):
    sections = ("3 Graph Convolution Networks", "4 U-Nets")
    for cells, tag, section in zip(both, ("answer-3.6", "answer-4.2"), sections, strict=True):
        answer = notebooks.answer(cells, tag)
        page = outline(pdf)[section]  # or the next, if only the mark found room on it
        text = tight("".join(pages[page - 1 : page + 1]))
        start = text.rindex(tight(section))
        assert tight(re.sub(r"[*`]", "", answer)) in text[start : start + 1000]


def called(cells, names):
    """All that the named classes call, directly or not, of what the notebook defines."""
    defined = listings.definitions(cells)
    return {helper for name in names for helper in listings.with_helpers(name, defined)}


def test_every_helper_of_the_listings_is_printed_once(pages, both):
    text = running(pages)
    for cells, names in zip(both, lift.LISTINGS, strict=True):
        defined = listings.definitions(cells)
        for name in called(cells, names):
            assert text.count(tight(defined[name].source.splitlines()[0])) == 1, name


def test_helpers_are_found_through_each_other():
    cell = nbformat.v4.new_code_cell(
        "import math\nHALF = 0.5\n\ndef root(x):\n    return math.sqrt(x)\n\n"
        "# why\n@cached\ndef area(x):\n    return HALF * root(x)\n\ndef unused():\n    pass",
        metadata={"tags": ["definitions"]},
    )
    defined = listings.definitions([cell])
    assert listings.with_helpers("area", defined) == ["area", "HALF", "root"]
    assert defined["area"].source.startswith("# why\n@cached\ndef area")
    with pytest.raises(ValueError, match="volume"):
        listings.with_helpers("volume", defined)


def test_listings_highlight_the_answer_lines_and_all_of_a_helper(both):
    for cells, names in zip(both, lift.LISTINGS, strict=True):
        for name in called(cells, names):
            piece = listings.definitions(cells)[name]
            lines = latex.listing(piece, helper=name not in names)
            marked = re.search(r"highlightlines=\{([\d,]+)\}", lines)[1]
            whole = name not in names or ">>> answer" not in piece.source
            inside, expected, number = whole, [], 0
            for line in piece.source.splitlines():
                if listings.MARKER.match(line):
                    inside = whole or ">>>" in line
                    continue
                number += 1
                if inside and line.strip():
                    expected.append(number)
            assert [int(number) for number in marked.split(",")] == expected, name


def test_every_figure_and_table_is_cited():
    tex = "\n".join(path.read_text("utf-8") for path in WRITTEN.glob("**/*.tex"))
    labels = set(re.findall(r"\\label\{((?:fig|tab):[\w-]+)\}", tex))
    for kind, start in (("figure", "fig"), ("table", "tab")):
        found = re.findall(rf"\\lifted{kind}(?:\[\w+\])?\{{([\w-]+)\}}", tex)
        labels |= {f"{start}:{name}" for name in found}
    cited = {
        name for names in re.findall(r"\\[cC]?ref\{([^}]+)\}", tex) for name in names.split(",")
    }
    assert len(labels) > 10
    assert labels <= cited


# --- how its pages look ----------------------------------------------------------------------


def largest_gap(page):
    """Height of the largest blank band above the page number, as a share of the page."""
    pixels = page.render(scale=1, grayscale=True).to_numpy().squeeze()
    inked = np.flatnonzero((pixels < 200).any(axis=1))
    top, foot = 0.07 * len(pixels), inked[-1]  # the last line is the page number
    return np.diff([top, *inked[inked > top], foot]).max() / len(pixels)


def rasters(page):
    """Dots per inch of each raster image as printed, the smaller of both directions."""
    for image in page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE], max_depth=9):
        data, form = image.get_metadata(), image.container
        scale = form.get_matrix().a if form else 1
        yield min(data.horizontal_dpi, data.vertical_dpi) / scale


def test_no_page_has_a_gap_over_a_tenth(pdf):
    gaps = [largest_gap(page) for page in pdf][:-1]  # the last page ends where the text does
    assert {number: gap for number, gap in enumerate(gaps, start=1) if gap > 0.1} == {}


def test_rasters_have_at_least_300_dots_per_inch(pdf):
    coarse = {
        (number, round(dpi))
        for number, page in enumerate(pdf, start=1)
        for dpi in rasters(page)
        if dpi < 299
    }
    assert coarse == set()


def test_fonts_are_embedded(pdf):
    for page in pdf:
        for text in page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT], max_depth=9):
            assert text.get_font().is_embedded, text.get_font().get_base_name()


def places(pdf):
    """Where each bookmark points to, in pages from the beginning, as in ``[2.25, ...]``."""
    found = {}
    for mark in pdf.get_toc():
        _, (_, y, *_) = mark.get_dest().get_view()
        page = mark.get_dest().get_index()
        found[mark.get_title()] = page + 1 - y / pdf[page].get_height()
    return found


def test_report_has_at_most_twenty_pages_and_questions_1_and_2_nine(pdf):
    assert len(pdf) <= 20
    at = places(pdf)
    (first,) = (place for title, place in at.items() if title.startswith("1 "))
    assert at["3 Graph Convolution Networks"] - first <= 9


def test_file_is_small_titled_and_on_a4(pdf):
    assert (WRITTEN / "a4-writeup.pdf").stat().st_size < 5_000_000
    assert "Assignment 4" in pdf.get_metadata_value("Title")
    for page in pdf:
        assert [round(side) for side in page.get_size()] == [595, 842]  # in points


# --- building it -----------------------------------------------------------------------------


def without_flowers(folder):
    """Write the notebooks as they are where the flowers cannot be had."""
    gnn, unet = (nbformat.read(ROOT / name, as_version=4) for name in notebooks.NAMES)
    for cell in unet.cells:
        if "figure-unet-flowers" in notebooks.tags(cell):
            cell.outputs = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                kept = [
                    x
                    for x in output.text.splitlines(True)
                    if not re.match("RESULT.*=flowers", x)
                ]
                output.text = "".join(kept)
    folder.mkdir()
    for notebook, name in zip((gnn, unet), notebooks.NAMES, strict=True):
        nbformat.write(notebook, folder / name)


@pytest.mark.skipif(not shutil.which("latexmk"), reason="TeX is not installed")
@pytest.mark.parametrize("flowers", [True, False], ids=["as stored", "without flowers"])
def test_report_builds_without_undefined_references_or_overfull_lines(tmp_path, flowers):
    source = ROOT if flowers else tmp_path / "notebooks"
    if not flowers:
        without_flowers(source)
    shutil.copytree(WRITTEN, tmp_path / "written", ignore=shutil.ignore_patterns("*.pdf"))
    build = tmp_path / "build" / "written"
    lift.lift(source, build / "lifted")
    figures = tmp_path / "written" / "proof_figures.py"
    subprocess.run([sys.executable, figures, build], check=True)
    command = "latexmk -xelatex -quiet -halt-on-error -outdir=../build/written a4-writeup.tex"
    run = subprocess.run(
        command.split(), cwd=tmp_path / "written", capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:]
    log = (build / "a4-writeup.log").read_text("utf-8", errors="replace")
    assert "undefined" not in "\n".join(re.findall(r"^.*Warning.*$", log, re.M))
    assert "Overfull \\hbox" not in log
    assert "Missing character" not in log
    built = pypdfium2.PdfDocument(build / "a4-writeup.pdf")
    text = "".join(page.get_textpage().get_text_bounded() for page in built)
    assert ("Final segmentations of flowers" in text) == flowers
