"""Finding or downloading a data file, with the ``fetch`` that both notebooks share."""

import hashlib
from pathlib import Path

import pytest

CONTENT = b"the right content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def fetch(unet):
    return unet.fetch


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder, home and cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("A4_DATA_DIR", raising=False)
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path


class Server:
    """A downloader that counts the requests."""

    requests = 0

    def __call__(self, url, output_file, _pooch):
        self.requests += 1
        if "missing" in url:
            raise OSError("404 Not Found")
        Path(output_file).write_bytes(CONTENT)


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    return path


def test_local_folders_come_first(fetch, place, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", str(place / "given"))
    given = write(place / "given" / "file")
    assert fetch("file", "good", downloader=Server()) == given
    local = write(place / "clone" / "data" / "file")
    assert fetch("file", "good", downloader=Server()) == local


def test_folder_may_begin_at_home(fetch, place, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", "~/flowers")
    path = write(place / "home" / "flowers" / "file")
    assert fetch("file", "good", downloader=Server()) == path


def test_download_is_cached_outside_the_project(fetch, place):
    server = Server()
    for _ in range(2):
        path = fetch("file", "good", SHA256, server)
        assert path.read_bytes() == CONTENT
    assert path == place / "cache" / "csc413-a4" / "file"
    assert server.requests == 1
    assert not list(Path().iterdir())


def test_wrong_checksum_raises_and_keeps_nothing(fetch, place):
    with pytest.raises(FileNotFoundError, match="hash"):
        fetch("file", "good", "0" * 64, Server())
    assert not any(path.is_file() for path in (place / "cache").rglob("*"))


def test_error_names_folders_and_cause(fetch, place, monkeypatch):
    monkeypatch.setenv("A4_DATA_DIR", str(place / "given"))
    with pytest.raises(FileNotFoundError) as caught:
        fetch("file", "missing", downloader=Server())
    for text in ("file", str(Path("data").resolve()), str(place / "given"), "404"):
        assert text in str(caught.value)
