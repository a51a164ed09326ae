"""The README: its commands exist, its files exist, its results are those of the notebooks."""

import re
import subprocess

import lift
import pytest
from definitions import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_results_are_those_of_the_stored_notebooks():
    assert lift.refresh_readme(README, ROOT) == README, "run `make pdf`"


def test_results_would_be_refreshed():
    stale = re.sub(r"\d+\.\d+ ± \d+\.\d+", "0.0 ± 0.0", README)
    assert stale != README
    assert lift.refresh_readme(stale, ROOT) == README


@pytest.mark.parametrize("target", re.findall(r"^make( \w+)?  ", README, re.M))
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


def test_continuous_integration_runs_the_test_command_of_the_readme():
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if re.match(r"make|python|pytest|pip", line.strip())
    ]
    assert commands == ["make test"]
