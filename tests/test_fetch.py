"""Fetching a data file: what is found, what is refused, and what the error says."""

import hashlib
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from definitions import ROOT

# a response that is refused is closed by the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CONTENT = b"the right content\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers each address with the fault that it names."""

    def do_GET(self):
        fault = self.path.strip("/")
        self.server.asked.append(fault)
        if fault == "404":
            self.send_error(404)
        elif fault == "loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif fault == "status":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
        elif fault == "trickle-headers":
            self.trickle(b"HTTP/1.0 200 OK\r\nX: ")
        else:
            content = b"another content" if fault == "wrong" else CONTENT
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if fault == "trickle":
                self.trickle(b"")
            self.wfile.write(content[:-100] if fault == "short" else content)

    def trickle(self, start):
        self.wfile.write(start)
        for _ in range(400):  # 20 seconds, unless the test ends before
            if self.server.stop.wait(0.05):
                break
            self.wfile.write(b"a")

    def handle(self):
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client has given up

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server on the loopback address; ``server.url(fault)`` is an address with that fault."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.stop = [], threading.Event()
        server.url = lambda fault: f"http://127.0.0.1:{server.server_port}/{fault}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stop.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work in an empty folder, with an empty cache and no setting."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("A4_DATA_DIR", raising=False)
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path


@pytest.fixture(params=["gnn", "unet"])
def fetch(request, place):
    return request.getfixturevalue(request.param).fetch


def right(path):
    if path.read_bytes() != CONTENT:
        raise ValueError("not the right content")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def cell(notebook):
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    (found,) = [cell.source for cell in cells if cell.source.startswith("def fetch(")]
    return found


def test_both_notebooks_have_the_same_short_cell():
    assert cell("a4-gnn.ipynb") == cell("a4-unet.ipynb")
    assert sum(bool(line.strip()) for line in cell("a4-gnn.ipynb").splitlines()) <= 30


def test_local_files_come_first_and_nothing_is_printed(fetch, place, monkeypatch, capfd):
    for folder in ("data", "../given"):
        Path(folder).mkdir()
    monkeypatch.setenv("A4_DATA_DIR", str(place / "given"))
    (place / "given" / "file").touch()
    assert fetch("file", "http://127.0.0.1:1/") == place / "given" / "file"
    Path("data/file").touch()
    assert fetch("file", "http://127.0.0.1:1/") == Path("data/file")
    assert capfd.readouterr() == ("", "")


def test_the_folder_setting_may_begin_at_home(fetch, place, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", "~/flowers")
    (place / "home" / "flowers").mkdir(parents=True)
    (place / "home" / "flowers" / "file").touch()
    assert fetch("file") == place / "home" / "flowers" / "file"


@pytest.mark.parametrize("setting", ["missing", "a-file", "~/missing", "~nobody-at-all/x"])
def test_a_wrong_folder_setting_is_named(fetch, setting, monkeypatch, server):
    Path("a-file").touch()
    monkeypatch.setenv("A4_DATA_DIR", setting)
    with pytest.raises(NotADirectoryError, match="A4_DATA_DIR.*" + setting.strip("~")):
        fetch("file", server.url("good"))
    assert not server.asked


def test_a_download_is_kept_in_the_cache_and_not_in_the_clone(fetch, place, server):
    for _ in range(2):
        path = fetch("file", server.url("good"), sha256=SHA256, check=right)
        assert path == place / "cache" / "csc413-a4" / "file"
        assert path.read_bytes() == CONTENT
    assert server.asked == ["good"]
    assert files(place) == ["cache/csc413-a4/file"]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("404", "HTTPError: 404 Client Error"),
        ("loop", "TooManyRedirects: Exceeded 30 redirects"),
        ("status", "ConnectionError: .*BadStatusLine.*this is no HTTP"),
        ("short", "IncompleteRead|does not match the known hash"),
        ("wrong", "ValueError: SHA256 hash .* does not match the known hash"),
        ("trickle", "TimeoutError: over 2 s"),
        ("trickle-headers", "TimeoutError: over 2 s"),
    ],
)
def test_every_fault_of_a_source_is_told_and_the_next_is_tried(
    fetch, place, server, fault, cause
):
    limit = 2 if "trickle" in fault else 60
    with pytest.raises(FileNotFoundError, match=f"(?s)^file is .*{fault}: .*({cause})"):
        fetch("file", server.url(fault), sha256=SHA256, limit=limit)
    assert not files(place)
    path = fetch("file", server.url(fault), server.url("good"), sha256=SHA256, limit=limit)
    assert path.read_bytes() == CONTENT
    assert files(place) == ["cache/csc413-a4/file"]


def test_every_source_is_named_in_the_error(fetch, server):
    with pytest.raises(FileNotFoundError) as caught:
        fetch(
            "file", server.url("404"), server.url("wrong"), "http://127.0.0.1:1/", check=right
        )
    first, *causes = str(caught.value).splitlines()
    assert "file" in first
    for text, cause in zip(("404", "not the right content", "refused"), causes, strict=True):
        assert text in cause


def test_wrong_content_is_not_kept(fetch, place, server):
    with pytest.raises(FileNotFoundError, match="ValueError: not the right content"):
        fetch("file", server.url("wrong"), check=right)
    assert not files(place)
    assert fetch("file", server.url("wrong"), server.url("good"), check=right).is_file()
    assert files(place) == ["cache/csc413-a4/file"]


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"check": right}])
def test_a_damaged_file_in_the_cache_is_replaced(fetch, server, known):
    path = fetch("file", server.url("good"), **known)
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch("file", server.url("good"), **known).read_bytes() == CONTENT
    assert server.asked == ["good", "good"]


def test_a_full_disk_is_called_so(fetch, place):
    def downloader(url, output_file, pooch):
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(FileNotFoundError, match=r"OSError: .*No space left on device"):
        fetch("file", "http://127.0.0.1:1/", downloader=downloader)
    assert not files(place)


def test_a_cache_that_cannot_be_written_is_named(fetch, place, server):
    (place / "cache").touch()
    with pytest.raises(FileNotFoundError, match=f"Error: .*{place / 'cache'}"):
        fetch("file", server.url("good"), check=right)
    assert files(place) == ["cache"]


def test_a_hidden_fault_of_a_downloader_does_not_stop_the_others(fetch, server):
    def downloader(url, output_file, pooch):
        if url == "pip:1":
            raise subprocess.TimeoutExpired("pip", 3)
        Path(output_file).write_bytes(CONTENT)

    path = fetch("file", "pip:1", "pip:2", downloader=downloader, check=right)
    assert path.read_bytes() == CONTENT


def test_a_download_that_ends_too_late_is_thrown_away(fetch, place):
    ended = threading.Event()

    def downloader(url, output_file, pooch):
        with open(output_file, "wb") as file:
            time.sleep(0.2)
            file.write(CONTENT)
        ended.set()

    with pytest.raises(FileNotFoundError, match="TimeoutError"):
        fetch("file", "late:", downloader=downloader, limit=0.05)
    assert ended.wait(5)
    assert not files(place)


def process(notebook, call, *urls):
    """Start a Python that fetches; ``call`` stands after the definition."""
    imports = (
        "import os, sys, pooch\n"
        "from multiprocessing.pool import ThreadPool\n"
        "from pathlib import Path\n"
    )
    command = [sys.executable, "-c", f"{imports}{cell(notebook)}\n{call}", *urls]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_several_processes_at_once_share_one_file(place, server):
    call = f"print(fetch('file', *sys.argv[1:], sha256={SHA256!r}))"
    urls = [server.url("wrong"), server.url("good")]
    for run in [process("a4-unet.ipynb", call, *urls) for _ in range(3)]:
        output, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors
        assert output.strip() == str(place / "cache" / "csc413-a4" / "file")
    assert files(place) == ["cache/csc413-a4/file"]


def test_a_process_ends_although_a_download_hangs(place, server):
    call = "fetch('file', sys.argv[1], limit=0.5)"
    run = process("a4-gnn.ipynb", call, server.url("trickle-headers"))
    assert "TimeoutError: over 0.5 s" in run.communicate(timeout=30)[1]
