"""Finding or downloading a data file, with the ``fetch`` that both notebooks share."""

import functools
import gc
import hashlib
import http.server
import threading
import warnings
from pathlib import Path

import pytest

CONTENT = b"the right content\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["gnn", "unet"])
def fetch(request):
    return request.getfixturevalue(request.param).fetch


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder, home and cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("A4_DATA_DIR", raising=False)
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    yield tmp_path
    with warnings.catch_warnings():  # sockets that a failed download leaves open
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and counts the requests."""

    def do_GET(self):
        self.server.requests += 1
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(place):
    """A server on this machine with the file ``good``."""
    folder = place / "server"
    folder.mkdir()
    (folder / "good").write_bytes(CONTENT)
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    return path


def test_local_folders_come_first(fetch, place, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", str(place / "given"))
    given = write(place / "given" / "file")
    assert fetch("file", "http://127.0.0.1:1/") == given
    local = write(place / "clone" / "data" / "file")
    assert fetch("file", "http://127.0.0.1:1/") == local


def test_folder_may_begin_at_home(fetch, place, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", "~/flowers")
    path = write(place / "home" / "flowers" / "file")
    assert fetch("file", "http://127.0.0.1:1/") == path


def test_download_is_cached_outside_the_project(fetch, place, server):
    for _ in range(2):
        path = fetch("file", f"{server.url}/good", SHA256)
        assert path.read_bytes() == CONTENT
    assert path == place / "cache" / "csc413-a4" / "file"
    assert server.requests == 1
    assert not list(Path().iterdir())


def test_wrong_checksum_raises_and_keeps_nothing(fetch, place, server):
    with pytest.raises(FileNotFoundError, match="hash"):
        fetch("file", f"{server.url}/good", "0" * 64)
    assert not any(path.is_file() for path in (place / "cache").rglob("*"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_error_names_folders_and_cause(fetch, place, server, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", str(place / "given"))
    with pytest.raises(FileNotFoundError) as caught:
        fetch("file", f"{server.url}/missing")
    for text in ("file", str(Path("data").resolve()), str(place / "given"), "404"):
        assert text in str(caught.value)
