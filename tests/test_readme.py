"""What the READMEs promise: commands, files and checksums are those of the project."""

import hashlib
import re
import subprocess

import pytest
from definitions import ROOT

README = (ROOT / "README.md").read_text("utf-8")
TARGETS = sorted(set(re.findall(r"(?:^|`)make ?(\w*)(?=`|  )", README, re.M)))


@pytest.mark.parametrize("target", TARGETS)
def test_commands_are_targets_of_the_makefile(target):
    command = ["make", "--dry-run", *target.split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 0, run.stderr
    assert "Nothing to be done" not in run.stdout


def test_continuous_integration_runs_the_two_commands_of_the_readme():
    lines = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("make")] == ["make", "make test"]
    assert {"", "test"} <= set(TARGETS)


def test_files_that_the_readme_names_exist():
    made = {"submission/", "build/quick/", ".venv", "a4-writeup.pdf"}
    named = set(re.findall(r"`([\w./-]+(?:\.\w+|/))`", README))
    named |= set(re.findall(r"\]\((?!http)([^)]+)\)", README))
    assert {"a4-gnn.ipynb", "a4-unet.ipynb"} <= named
    for name in named - made:
        assert (ROOT / name).exists(), name


def test_checksums_of_the_data_are_those_that_their_readme_states():
    stated = (ROOT / "data/README.md").read_text("utf-8")
    for name in ("cora.content", "cora.cites", "nuclei.zip", "planetoid_split.json"):
        digest = hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest()
        assert digest in stated, name
