"""The README: its commands exist, its files exist, its results are those of the notebooks."""

import hashlib
import re
import subprocess

import notebooks
import pytest
import readme
import tables
from definitions import ROOT
from PIL import Image
from test_report import without_flowers

README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def lines():
    return [notebooks.results(cells) for cells in notebooks.read_cells(ROOT)]


def test_readme_can_be_read_in_a_minute(lines):
    assert len(README.split()) <= 600
    assert len(tables.summary(*lines)[1]) <= 6


def test_results_are_those_of_the_stored_notebooks(lines):
    assert readme.refresh(README, *lines) == README, "run `make pdf`"


def test_results_would_be_refreshed(lines):
    stale = re.sub(r"\d+\.\d+ ± \d+\.\d+", "0.0 ± 0.0", README)
    assert stale != README
    assert readme.refresh(stale, *lines) == README


def test_picture_shows_the_stored_results(lines):
    with Image.open(ROOT / "written" / "findings.png") as picture:
        assert picture.text["Source"] == readme.source(*lines), "run `make pdf`"


def test_results_and_picture_do_without_the_flowers(tmp_path):
    without_flowers(tmp_path / "notebooks")
    lines = [notebooks.results(cells) for cells in notebooks.read_cells(tmp_path / "notebooks")]
    results = readme.refresh(README, *lines).split("<!-- ")[1]
    assert "nuclei" in results
    assert "flowers" not in results
    readme.draw(*lines, tmp_path / "findings.png")
    with Image.open(tmp_path / "findings.png") as picture:
        assert picture.width > picture.height


COMMANDS = sorted(set(re.findall(r"(?:^|`)make((?: [\w=/]+)*)(?=`|  )", README, re.M)))


@pytest.mark.parametrize("target", COMMANDS)
def test_commands_are_targets_of_the_makefile(target):
    command = ["make", "--dry-run", *target.split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_files_that_it_names_exist():
    made = {"submission/", ".venv", "a4-writeup.pdf"}
    named = set(re.findall(r"`([\w./-]+(?:\.\w+|/))`", README)) | set(
        re.findall(r"\]\((?!http)([^)]+)\)", README)
    )
    assert len(named) > 10
    for name in named - made:
        assert (ROOT / name).exists(), name


def test_checksums_of_the_data_are_those_that_their_readme_states():
    readme = (ROOT / "data" / "README.md").read_text("utf-8")
    stated = dict(re.findall(r"^\| `([\w.]+)` .* `([0-9a-f]{64})` \|$", readme, re.M))
    assert stated.keys() == {"cora.tgz", "nuclei.zip", "planetoid_split.json"}
    for name, checksum in stated.items():
        assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == checksum, name


def test_continuous_integration_runs_the_test_command_of_the_readme():
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if re.match(r"make|python|pytest|pip", line.strip())
    ]
    assert commands == ["make test"]
