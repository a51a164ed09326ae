"""The commands of the Makefile, tried in a small copy of the project with tiny notebooks."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import execute
import nbformat
import pytest
from definitions import ROOT

NOTEBOOKS = ("a4-gnn.ipynb", "a4-unet.ipynb")
TOOLS = "cp env find grep make mkdir rm setpriv sh touch true"
TEX = ("latexmk", "xelatex", "kpsewhich")
SETTINGS = """
import os
print(os.environ.get("A4_QUICK"), os.environ.get("MPLBACKEND"))
"""
# Two workers write without end, as long as there is a file called "slow".
TICKS = """
import time
from pathlib import Path
import joblib

def tick(name):
    while Path("slow").exists():
        with Path(name).open("a") as file:
            file.write(".")
        time.sleep(0.05)

joblib.Parallel(2)(joblib.delayed(tick)(f"ticks-{i}") for i in range(2))
print("finished")
"""


def write_script(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    path.chmod(0o755)


def write_notebook(path, code, fresh=False):
    """Write a notebook of two cells; if it is fresh, make does not have to execute it."""
    cells = [nbformat.v4.new_markdown_cell("Title"), nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    if fresh:
        notebook.metadata["code_digest"] = execute.code_digest(notebook)
    nbformat.write(notebook, path)


def outputs(path):
    """All text that the cells of a notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    printed = [o.text for c in cells for o in c.get("outputs", []) if "text" in o]
    return "".join(printed)


class Project:
    """A copy of the set-up in a folder whose name has a space, on a machine we can change.

    The machine has the commands in its folder `bin` and no others. They are those of this
    machine, except `id`, `sudo`, `apt-get` and TeX: nothing here may install a package.
    """

    def __init__(self, place: Path):
        self.root, self.bin = place / "my project", place / "bin"
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        for folder in ("written", "tests"):
            (self.root / folder).mkdir()
            name = f"{folder}/requirements.txt"
            shutil.copy(ROOT / name, self.root / name)
        for name in ("Makefile", "requirements.txt"):
            shutil.copy(ROOT / name, self.root)
        for name in NOTEBOOKS:
            write_notebook(self.root / name, SETTINGS, fresh=True)
        (self.root / "written" / "a4-writeup.pdf").write_text("committed")
        (self.root / "written" / "readme.py").write_text("print('README refreshed')")
        write_script(self.root / "written" / "build.sh", 'printf "built from $1" >"$2"')
        # an environment that is there already: the one that runs this test
        write_script(self.root / ".venv/bin/python", f'exec "{sys.executable}" "$@"')
        for name in ("ready", "tests"):
            (self.root / ".venv" / name).touch()
        self.bin.mkdir()
        for name in filter(shutil.which, TOOLS.split()):
            (self.bin / name).symlink_to(shutil.which(name))
        base = Path(sys.executable).resolve()
        write_script(self.bin / "python3", f'exec "{base}" "$@"')
        write_script(self.bin / "id", "echo 1000")
        write_script(self.bin / "sudo", "exit 1")
        self.add_tex()

    def add_tex(self):
        for name in TEX:
            write_script(self.bin / name)

    def remove_tex(self):
        for name in TEX:
            (self.bin / name).unlink()

    def start(self, *targets, **variables):
        ours = ("MAKE", "A4_", "PYTEST", "MFLAGS")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        environment |= {"PATH": str(self.bin)} | variables
        return subprocess.Popen(
            [self.bin / "make", *targets],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # a signal to its group is our Ctrl-C
        )

    def make(self, *targets, **variables):
        """Run make; return its exit status and all that it printed."""
        run = self.start(*targets, **variables)
        printed, _ = run.communicate(timeout=120)
        return run.returncode, printed

    def files(self, folder):
        return sorted(path.name for path in (self.root / folder).iterdir())

    def read(self, name):
        return (self.root / name).read_text("utf-8")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_make_executes_notebooks_and_fills_submission(project):
    for name in NOTEBOOKS:
        write_notebook(project.root / name, SETTINGS)
    status, printed = project.make()
    assert status == 0, printed
    assert project.files("submission") == [*NOTEBOOKS, "a4-writeup.pdf"]
    assert project.read("submission/a4-writeup.pdf") == "built from ."
    for name in NOTEBOOKS:
        notebook = nbformat.read(project.root / name, as_version=4)
        assert notebook.metadata == {"code_digest": execute.code_digest(notebook)}
        assert project.read(f"submission/{name}") == project.read(name)
        assert outputs(project.root / name).startswith("0 ")


def test_make_executes_a_notebook_only_if_its_code_changed(project):
    path = project.root / "a4-gnn.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "Another title"
    nbformat.write(notebook, path)
    status, printed = project.make()
    assert status == 0, printed
    assert "running" not in printed
    assert "Another title" in project.read("submission/a4-gnn.ipynb")
    notebook.cells[1].source = "print('new code')"
    nbformat.write(notebook, path)
    _, printed = project.make()
    assert printed.count("running") == 1
    assert outputs(project.root / "submission/a4-gnn.ipynb") == "new code\n"


def test_make_run_executes_everything_and_stores_the_report(project):
    status, printed = project.make("run")
    assert status == 0, printed
    assert printed.count("running") == 2
    assert "README refreshed" in printed
    assert project.read("written/a4-writeup.pdf") == "built from ."


def test_make_quick_changes_only_its_own_folder(project):
    before = [project.read(name) for name in NOTEBOOKS]
    status, printed = project.make("quick")
    assert status == 0, printed
    assert project.files("build") == ["quick"]
    assert project.files("build/quick") == [*NOTEBOOKS, "a4-writeup.pdf"]
    assert outputs(project.root / "build/quick/a4-gnn.ipynb").startswith("1 ")
    assert [project.read(name) for name in NOTEBOOKS] == before


def test_a_failing_notebook_stops_make_and_stays_as_it_was(project):
    path = project.root / "a4-unet.ipynb"
    write_notebook(path, "1 / 0")
    before = path.read_bytes()
    status, printed = project.make()
    assert status != 0
    assert "ZeroDivisionError" in printed
    assert path.read_bytes() == before
    assert not (project.root / "submission").exists()


def test_a_failing_report_stops_make(project):
    write_script(project.root / "written/build.sh", "echo Undefined control sequence; exit 1")
    status, printed = project.make()
    assert status != 0
    assert "Undefined control sequence" in printed
    assert not (project.root / "submission").exists()


@pytest.mark.parametrize("user", ["0", "1000"])
def test_without_tex_the_committed_report_is_handed_in(project, user):
    project.make()
    project.remove_tex()
    write_script(project.bin / "id", f"echo {user}")
    write_script(project.bin / "apt-get", "exit 100")
    (project.root / "a4-gnn.ipynb").touch()  # what was built before is out of date
    for _ in range(2):
        status, printed = project.make()
        assert status == 0, printed
        assert "sudo apt-get install texlive-xetex" in printed
        assert project.read("submission/a4-writeup.pdf") == "committed"
    project.add_tex()
    project.make()
    assert project.read("submission/a4-writeup.pdf") == "built from ."


@pytest.mark.parametrize(("user", "sudo"), [("0", "exit 1"), ("1000", 'shift; exec "$@"')])
def test_tex_is_installed_where_that_needs_no_password(project, user, sudo):
    project.remove_tex()
    write_script(project.bin / "id", f"echo {user}")
    write_script(project.bin / "sudo", sudo)
    tex = " ".join(f"'{project.bin / name}'" for name in TEX)
    write_script(
        project.bin / "apt-get",
        f'case "$*" in *install*latexmk*) for x in {tex}; do cp "$0" "$x"; done;; esac',
    )
    status, printed = project.make()
    assert status == 0, printed
    assert project.read("submission/a4-writeup.pdf") == "built from ."


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ('[ "$1" = -m ]', "sudo apt-get install python3-venv"),
        ('[ "$1" != -c ] || case "$2" in *exit*) exit 1;; esac', "Python 3.10 or newer"),
    ],
)
def test_one_line_says_which_python_is_missing(project, python, message):
    shutil.rmtree(project.root / ".venv")
    write_script(project.bin / "python3", python)
    status, printed = project.make()
    assert status != 0
    assert message in printed


def test_pips_own_error_is_shown_and_make_can_go_on(project):
    shutil.rmtree(project.root / ".venv")
    (project.root / "requirements.txt").write_text("no-such-package-at-all\n")
    (project.root / "written/requirements.txt").write_text("")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    status, printed = project.make(**nowhere)
    assert status != 0
    assert "No matching distribution found for no-such-package-at-all" in printed
    assert "make goes on from here" in printed
    (project.root / "requirements.txt").write_text("pip\n")
    status, printed = project.make(".venv/ready", **nowhere)
    assert status == 0, printed


def test_variables_of_the_caller_do_not_reach_the_runs(project, tmp_path):
    write_notebook(project.root / "a4-gnn.ipynb", SETTINGS)
    kernel = tmp_path / "jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["false"], "display_name": "other", "language": "python"}')
    (tmp_path / "nbclient.py").write_text("raise SystemExit('a foreign package')")
    status, printed = project.make(
        A4_QUICK="1",
        MPLBACKEND="Agg",
        JUPYTER_PATH=str(tmp_path / "jupyter"),
        PYTHONPATH=str(tmp_path),
        PYTHONHOME=str(tmp_path),
    )
    assert status == 0, printed
    quick, backend = outputs(project.root / "a4-gnn.ipynb").split()[:2]
    assert quick == "0"
    assert backend != "Agg"


def ticks(project):
    return [path.stat().st_size for path in sorted(project.root.glob("ticks-*"))]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_make_leaves_no_process_that_writes(project, how):
    if how == signal.SIGKILL and not shutil.which("setpriv"):
        pytest.skip("only Linux ends the children of a killed process")
    path = project.root / "a4-gnn.ipynb"
    write_notebook(path, TICKS)
    before = path.read_bytes()
    (project.root / "slow").touch()
    run = project.start()
    deadline = time.monotonic() + 60
    while len(ticks(project)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    if how == signal.SIGINT:
        os.killpg(run.pid, how)
    else:
        run.send_signal(how)
    run.communicate(timeout=60)
    assert run.returncode != 0
    written, deadline = None, time.monotonic() + 20
    while written != ticks(project) and time.monotonic() < deadline:
        written = ticks(project)
        time.sleep(1)
    assert written == ticks(project)
    assert path.read_bytes() == before
    (project.root / "slow").unlink()
    assert project.make()[0] == 0
    assert outputs(path) == "finished\n"


def git(folder, *arguments):
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=True)
    return run.stdout


def test_a_clone_with_windows_settings_has_the_same_files(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a clone")
    git(tmp_path, "clone", "-c", "core.autocrlf=true", str(ROOT), "clone")
    for line in git(tmp_path / "clone", "ls-files", "--eol").splitlines():
        about, name = line.split("\t")
        in_repository, in_folder = [part.split("/")[1] for part in about.split()[:2]]
        assert in_folder == in_repository != "crlf", name


def test_no_photograph_can_be_committed(tmp_path):
    git(tmp_path, "init")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    shutil.copytree(ROOT / "data", tmp_path / "data")
    for name in ("17flowers.tgz", "trimaps.tgz", "tmp1x2y", "jpg.zip", "image_0001.jpg"):
        (tmp_path / "data" / name).touch()
    git(tmp_path, "add", ".")
    added = git(tmp_path, "ls-files", "data").split()
    assert {"data/README.md", "data/nuclei.zip"} < set(added)
    for name in added:
        assert re.fullmatch(r"data/(README|cora|nuclei|planetoid_split)\.\w+", name)
