"""Setting up on every kind of machine: with and without root, TeX, a network, a good Python."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import colab
import nbformat
import pytest
from definitions import ROOT

NOTEBOOKS = ("a4-gnn.ipynb", "a4-unet.ipynb")
TOOLS = (
    "awk bash cat cp dirname env find grep head ls make mkdir mktemp mv rm sed setpriv sh "
    "sleep tail touch"
)
TEX = {
    "latexmk": "mkdir -p ../build/written; echo typeset >../build/written/a4-writeup.pdf",
    "xelatex": "",
    "kpsewhich": "",
}
# a machine is described by the files in $STATE: root, sudo, apt, venv, old, offline, slow
STUBS = {
    "id": '[ -e "$STATE/root" ] && echo 0 || echo 1000',
    "sudo": """
[ -e "$STATE/sudo" ] || { echo "sudo: a password is required" >&2; exit 1; }
shift
"$@" """,
    "apt-get": """
echo "apt-get at work"
[ -e "$STATE/apt" ] || exit 100
case "$*" in
*install*python3-venv*) touch "$STATE/venv" ;;
*install*latexmk*) cp "$STATE"/packages/* "$BIN" ;;
esac""",
    "python3": """
case "$*" in
"--version") echo "Python 3.8.1" ;;
"-c import ensurepip, venv") [ -e "$STATE/venv" ] ;;
"-c import sys;"*) [ ! -e "$STATE/old" ] ;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
"-m pip install --log "*)
    [ -e "$STATE/offline" ] || exit 0
    echo "connection broken by NewConnectionError" >"$5"
    echo "No matching distribution"
    exit 1 ;;
*nbconvert*)
    [ ! -e "$STATE/slow" ] || { touch "$STATE/started"; sleep 1; }
    while [ $# -gt 1 ]; do
        [ "$1" != --output-dir ] || folder=$2
        [ "$1" != --output ] || name=$2
        shift
    done
    echo "quick=${A4_QUICK:-} longer=${A4_LONGER:-} seeds=${A4_SEEDS:-}" >"$folder/$name" ;;
esac""",
}
APT_CALL = r"^(apt-get|sudo) "


class Machine:
    """A clone of the repository on a machine whose commands are stubs.

    Args:
        folder: an empty folder.
        has: what there is: root, sudo, apt, venv, tex, slow, old, offline.
        clone: name of the clone's folder.
        without: commands that are missing.
    """

    def __init__(self, folder, has, clone="clone", without=()):
        self.clone, self.bin, self.state = (folder / x for x in (clone, "bin", "state"))
        for source in ("Makefile", "README.md", "requirements.txt", ".ci", "written/build.sh"):
            target = self.clone / source
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, target)
        (self.clone / "tests").mkdir()
        for name in ("requirements.txt", "colab.txt"):
            shutil.copy(ROOT / "tests" / name, self.clone / "tests")
        for name, minutes in zip(NOTEBOOKS, (4.9, 7.8), strict=True):
            (self.clone / name).write_text(f'"RESULT notebook=x minutes={minutes}\\n",\n')
        (self.clone / "written" / "a4-writeup.pdf").write_text("committed\n")
        self.bin.mkdir()
        self.state.mkdir()
        for name in has:
            (self.state / name).touch()
        for name in TOOLS.split():
            if path := shutil.which(name):
                (self.bin / name).symlink_to(path)
        self.stub(self.bin, STUBS)
        self.stub(self.state / "packages", TEX)
        if "tex" in has:
            self.stub(self.bin, TEX)
        for name in without:
            (self.bin / name).unlink()
        self.environment = {
            "PATH": str(self.bin),
            "BIN": str(self.bin),
            "STATE": str(self.state),
            "LOG": str(folder / "log"),
        }

    def stub(self, folder, commands):
        folder.mkdir(exist_ok=True)
        for name, text in commands.items():
            path = folder / name
            path.unlink(missing_ok=True)  # never write through a link to the real command
            path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$LOG"\n{text}\n')
            path.chmod(0o755)

    def start(self, *targets, **environment):
        command = [str(self.bin / "make"), *targets]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        environment = self.environment | environment
        return subprocess.Popen(command, cwd=self.clone, env=environment, **pipes)

    def make(self, *targets, **environment):
        """Run make; return its exit status and what it prints."""
        with self.start(*targets, **environment) as run:
            output, _ = run.communicate(timeout=120)
        return run.returncode, output

    def calls(self, pattern):
        """The commands run so far that match."""
        log = Path(self.environment["LOG"])
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if re.search(pattern, line)]

    def read(self, path):
        return (self.clone / path).read_text().strip()

    def files(self):
        return {
            str(path.relative_to(self.clone)): path.stat().st_mtime_ns
            for path in self.clone.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def machine(tmp_path):
    return lambda *has, **more: Machine(tmp_path, has, **more)


def complete(machine, report):
    """Whether the hand-in is there, with this report."""
    notebooks = [machine.read(f"submission/{name}") for name in NOTEBOOKS]
    return (
        notebooks == ["quick= longer= seeds="] * 2
        and machine.read("submission/a4-writeup.pdf") == report
    )


@pytest.mark.parametrize("user", [[], ["root", "apt"], ["sudo", "apt"]])
def test_nothing_is_installed_where_all_is_there(machine, user):
    here = machine("venv", "tex", *user)
    status, output = here.make()
    assert status == 0, output
    assert complete(here, "typeset")
    assert not here.calls(APT_CALL)
    assert here.make()[0] == 0
    assert len(here.calls("nbconvert")) == 2  # a second run makes nothing again


def test_make_says_first_what_it_does_and_for_how_long(machine):
    _, output = machine("venv", "tex").make()
    assert "about 13 minutes" in output.split("exec")[0]  # 4.9 + 7.8 in the stored notebooks


@pytest.mark.parametrize(
    ("user", "without"),
    [
        ([], []),  # a plain user
        (["root"], []),  # root whose apt-get fails
        (["sudo"], []),
        (["root"], ["apt-get"]),
        ([], ["sudo", "apt-get"]),
    ],
)
def test_without_tex_the_committed_report_is_handed_in_until_there_is_tex(
    machine, user, without
):
    here = machine("venv", *user, without=without)
    for _ in range(2):
        status, output = here.make()
        assert status == 0, output
        assert complete(here, "committed")
        assert len(re.findall(r"without TeX \(sudo apt-get install texlive", output)) == 1
        assert "password" not in output
        asked = user and not without
        assert ("apt-get at work" in output) == bool(asked)
    here.stub(here.bin, TEX)
    assert here.make()[0] == 0
    assert complete(here, "typeset")


@pytest.mark.parametrize("user", ["root", "sudo"])
def test_tex_is_installed_where_that_is_possible(machine, user):
    here = machine("venv", "apt", user)
    status, output = here.make()
    assert status == 0, output
    assert complete(here, "typeset")
    assert "apt-get at work" in output
    assert here.make()[0] == 0
    assert len(here.calls(r"^apt-get .* install")) == 1


def test_a_report_that_does_not_build_is_an_error_and_shows_why(machine):
    here = machine("venv", "tex")
    here.stub(here.bin, {"latexmk": "echo Undefined control sequence; exit 12"})
    status, output = here.make()
    assert status != 0
    assert "Undefined control sequence" in output
    assert not (here.clone / "submission").exists()


def test_a_stale_report_is_not_handed_in(machine):
    here = machine("venv", "tex")
    here.make()
    for name in TEX:
        (here.bin / name).unlink()
    (here.clone / "a4-gnn.ipynb").touch()
    assert here.make()[0] == 0
    assert complete(here, "committed")


@pytest.mark.parametrize("user", ["root", "sudo"])
def test_pythons_venv_module_is_installed_where_that_is_possible(machine, user):
    here = machine("tex", "apt", user)
    status, output = here.make()
    assert status == 0, output
    assert complete(here, "typeset")
    assert len(here.calls(r"^apt-get .* install .*python3-venv")) == 1


@pytest.mark.parametrize(
    ("has", "without", "message"),
    [
        (["root"], [], r"sudo apt-get install python3 python3-venv"),
        ([], [], r"sudo apt-get install python3 python3-venv"),
        (
            [],
            ["python3", "sudo", "apt-get", "id"],
            r"sudo apt-get install python3 python3-venv",
        ),
        (["venv", "old"], [], r"Python 3\.10 or newer is needed, and this is Python 3\.8\.1"),
        (["venv", "offline"], [], r"there is no network"),
    ],
)
def test_one_line_says_what_is_missing(machine, has, without, message):
    here = machine("tex", *has, without=without)
    status, output = here.make()
    assert status != 0
    ours = [line for line in output.splitlines() if re.match("make: [^*]", line)]
    assert re.search(message, ours[-1]), output
    assert len(ours) == 2, output  # the plan, then the reason
    assert not (here.clone / ".venv" / "ready").exists()


@pytest.mark.parametrize("name", ["a b", "a$HOME", "a:b", 'a"b', "a\\b", "a'b", "a%b#c&d", "ä"])
def test_any_name_of_the_folder_works(machine, name):
    here = machine("venv", "tex", clone=name)
    status, output = here.make()
    assert status == 0, output
    assert complete(here, "typeset")
    assert here.make("clean")[0] == 0
    assert not (here.clone / ".venv").exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is part of Linux")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_make_leaves_nothing_that_goes_on_writing(machine, how):
    here = machine("venv", "tex", "slow")
    with here.start() as run:
        while not (here.state / "started").exists():
            time.sleep(0.01)
        run.send_signal(how)
        run.communicate(timeout=120)
    time.sleep(1.5)
    assert not list((here.clone / "build").iterdir())
    (here.state / "slow").unlink()
    assert here.make()[0] == 0
    assert complete(here, "typeset")


def test_quick_writes_into_its_own_folder_alone(machine):
    here = machine("venv", "tex")
    here.make()
    before = here.files()
    status, output = here.make("quick", A4_LONGER="3")
    assert status == 0, output
    after = here.files()
    made = {path for path in after if after[path] != before.get(path)} - {"build/latex.log"}
    assert made == {f"build/quick/{name}" for name in (*NOTEBOOKS, "a4-writeup.pdf")}
    assert here.read("build/quick/a4-gnn.ipynb") == "quick=1 longer= seeds="


def test_a_full_run_is_full_whatever_the_caller_has_set(machine):
    here = machine("venv", "tex")
    here.make(A4_QUICK="1", A4_SEEDS="1", A4_LONGER="2")
    assert complete(here, "typeset")


def test_plateau_trains_twice_as_long_with_two_seeds(machine):
    here = machine("venv")
    assert here.make("plateau")[0] == 0
    assert here.read("build/plateau/a4-unet.ipynb") == "quick= longer=2 seeds=2"
    assert here.calls("written/plateau.py build/plateau/a4-unet.ipynb")


def test_pdf_refreshes_the_committed_report_or_fails(machine):
    here = machine("venv")
    assert here.make("pdf")[0] != 0
    assert here.read("written/a4-writeup.pdf") == "committed"
    here.stub(here.bin, TEX)
    assert here.make("pdf")[0] == 0
    assert here.read("written/a4-writeup.pdf") == "typeset"
    assert not here.calls("nbconvert")


def test_clean_leaves_the_clone_as_it_came(machine):
    here = machine("venv", "tex")
    before = here.files()
    for target in ("all", "quick", "plateau"):
        assert here.make(target)[0] == 0
    (here.clone / "tests" / "__pycache__").mkdir()
    (here.clone / "tests" / "__pycache__" / "x.pyc").touch()
    assert here.files() != before
    assert here.make("clean")[0] == 0
    assert here.files() == before


def test_badges_open_the_notebooks_of_a_repository(machine):
    here = machine()
    for name in NOTEBOOKS:
        shutil.copy(ROOT / name, here.clone)
    address = "https://colab.research.google.com/github/{}/blob/main/{}"
    for repository in ("ann/a4", "bob-2/my.repo_1"):
        assert here.make("badges", f"REPOSITORY={repository}")[0] == 0
        for name in NOTEBOOKS:
            assert f"]({address.format(repository, name)})" in here.read("README.md")
            first = json.loads(here.read(name))["cells"][0]["source"]
            assert f'href="{address.format(repository, name)}"' in "".join(first)
        assert here.read("README.md").count(repository) == 2
    for wrong in ("", "ann", "a/b/c", "a/b;c", "a b/c", "'"):
        assert here.make("badges", f"REPOSITORY={wrong}")[0] != 0
    assert here.read("README.md").count("bob-2/my.repo_1") == 2


def test_no_picture_in_data_is_ever_seen_by_git(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "init.defaultBranch=main", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    git("init")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    (tmp_path / "data").mkdir()
    ours = {"README.md", "cora.tgz", "nuclei.zip", "planetoid_split.json"}
    for name in (
        *ours,
        "17flowers.tgz",
        "trimaps.tgz",
        "17flowers.tgz.part",
        "tmp1x2y",
        "jpg.zip",
    ):
        (tmp_path / "data" / name).touch()
    git("add", ".")
    assert set(git("ls-files", "data").stdout.split()) == {f"data/{name}" for name in ours}
    assert not git("status", "--porcelain", "--untracked-files=all", "data/tmp1x2y").stdout


def imports(sources):
    """Names of the packages that these sources import."""
    found = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    own = {
        path.stem for folder in ("tests", "written") for path in (ROOT / folder).rglob("*.py")
    }
    provider = {}  # packages_distributions of Python 3.10 leaves some out
    for distribution in metadata.distributions():
        files = re.findall(r"(?m)^[^/,]+", distribution.read_text("RECORD") or "")
        name = distribution.metadata["Name"]
        provider |= {file.removesuffix(".py"): name for file in set(files)}
    return {
        provider[name].lower().replace("-", "_")
        for name in found - set(sys.stdlib_module_names) - own
    }


def requirements(path):
    lines = (ROOT / path).read_text().splitlines()
    names = [re.match(r"[\w-]+", line) for line in lines]
    return {name[0].lower().replace("-", "_") for name in names if name}


def test_requirements_name_what_the_notebooks_import():
    sources = []
    for name in NOTEBOOKS:
        cells = nbformat.read(ROOT / name, as_version=4).cells
        code = [cell.source for cell in cells if cell.cell_type == "code"]
        sources += [re.sub(r"(?m)^(\s*)%.*", r"\1pass", source) for source in code]
    with_jupyter = {"ipython"}
    unseen = {"jupyter", "nbval", "tqdm", "torchvision"}  # pooch's bar; the benchmark's peer
    assert imports(sources) - with_jupyter == requirements("requirements.txt") - unseen


def test_requirements_of_the_tests_name_what_those_import():
    files = [path for folder in ("tests", "written") for path in (ROOT / folder).rglob("*.py")]
    used = imports(path.read_text("utf-8") for path in files)
    used |= {"ruff", "pytest_xdist", "antlr4_python3_runtime"}  # used, but not imported
    with_jupyter = {"nbformat", "nbclient"}
    named = requirements("tests/requirements.txt")
    assert named <= used <= named | requirements("requirements.txt") | with_jupyter


def test_github_runs_the_commands_of_the_readme_and_nothing_else():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    commands = re.findall(r"run: *(.+)", text)
    readme = (ROOT / "README.md").read_text()
    assert commands
    for command in commands:
        assert re.search(rf"^{command}(  |$)", readme, re.M), command
    oldest = (ROOT / "tests" / "oldest.txt").read_text()
    for pin in re.findall(r"^(\w+==[\d.]+)\.\*$", oldest, re.M):
        assert pin.replace("==", ">=") in (ROOT / "requirements.txt").read_text().split()


def test_continuous_integration_takes_the_data_from_outside(machine, tmp_path):
    here = machine()
    here.stub(here.bin, {"make": 'echo "data=${A4_DATA_DIR:-}"'})

    def run(**environment):
        command = [here.bin / "bash", ".ci/run"]
        environment = here.environment | environment
        run = subprocess.run(
            command, cwd=here.clone, env=environment, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    assert run() == "data="
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert run() == f"data={tmp_path / 'shared' / 'data'}"
    assert run(A4_DATA_DIR="/elsewhere") == "data=/elsewhere"


def test_colab_runs_a_notebook_alone_with_the_data_it_would_download(tmp_path):
    code = "import os\nassert os.listdir() + os.listdir('data') == ['data', 'cora.tgz']"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, tmp_path / "x.ipynb")
    (tmp_path / "data").mkdir()
    for name in ("cora.tgz", "planetoid_split.json"):
        (tmp_path / "data" / name).touch()
    assert colab.run(tmp_path / "x.ipynb", [tmp_path / "data", tmp_path / "none"]) == []


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import warnings; warnings.warn('old')", "UserWarning: old"),
    ],
)
def test_colab_reports_errors_and_warnings(tmp_path, code, problem):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, tmp_path / "x.ipynb")
    (found,) = colab.run(tmp_path / "x.ipynb", [])
    assert problem in found
    assert os.listdir(tmp_path) == ["x.ipynb"]
