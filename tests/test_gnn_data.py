"""Cora and its splits, and what happens when the archive or its sources are broken."""

import gc
import gzip
import hashlib
import http.server
import json
import re
import tarfile
import threading

import numpy as np
import pytest
import torch
from definitions import ROOT, write_tgz

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),  # CSR is in beta
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ARCHIVE = ROOT / "data" / "cora.tgz"
NAMES = ("cora/cora.content", "cora/cora.cites")


@pytest.fixture(scope="module")
def texts(gnn):
    return gnn.read_archive(ARCHIVE)


@pytest.fixture(scope="module")
def cora(gnn, texts):
    return gnn.parse_cora(*texts)


# What Cora is


def test_statistics(gnn, cora):
    papers, words, labels, cites = cora
    assert len(set(papers)) == 2708
    assert words.shape == (2708, 1433)
    assert words.sum() == words.count_nonzero() == 49216
    assert labels.bincount().tolist() == [298, 418, 818, 426, 217, 180, 351]
    assert cites.shape == (5429, 2)
    assert gnn.adjacency(cites, 2708).shape == (2, 2 * 5278 + 2708)


def test_parsing_agrees_with_a_plain_reading_of_the_lines(cora, texts):
    papers, words, labels, cites = cora
    lines = texts[0].splitlines()
    names = sorted({line.split("\t")[-1] for line in lines})
    for i, line in list(enumerate(lines))[::97]:
        paper, *ones, name = line.split("\t")
        assert (papers[i], names[labels[i]]) == (int(paper), name)
        assert words[i].tolist() == [float(one) for one in ones]
    pairs = [[int(paper) for paper in line.split()] for line in texts[1].splitlines()]
    assert np.array(papers)[cites].tolist() == pairs


def test_adjacency_has_each_link_both_ways_once_and_all_loops(gnn):
    index = gnn.adjacency(torch.tensor([[0, 1], [1, 0], [2, 2], [1, 3], [1, 3]]), 5)
    expected = torch.eye(5)
    expected[[0, 1, 1, 3], [1, 0, 3, 1]] = 1
    assert torch.equal(index, expected.nonzero().t())


def test_normalised_adjacency_is_the_handouts(gnn, cora):
    index = gnn.adjacency(cora[3], 2708)
    a_hat = torch.zeros(2708, 2708, dtype=torch.float64)
    a_hat[tuple(index)] = 1
    root = a_hat.sum(1) ** -0.5
    expected = root[:, None] * a_hat * root
    symmetric = gnn.normalise(index, 2708).to_dense().double()
    torch.testing.assert_close(symmetric, expected, rtol=1e-6, atol=0)
    by_row = gnn.normalise(index, 2708, by_row=True).to_dense().double()
    torch.testing.assert_close(by_row, a_hat / a_hat.sum(1, keepdim=True), rtol=1e-6, atol=0)


# Splits


def test_public_split_is_the_bundled_one(gnn, cora):
    listed = json.loads((ROOT / "data" / "planetoid_split.json").read_text())
    split = gnn.public_split()
    assert {role: len(nodes) for role, nodes in split.items()} == {
        "train": 140,
        "val": 500,
        "test": 1000,
    }
    for role, nodes in split.items():
        assert {cora[0][i] for i in nodes} == set(listed[role])
    assert cora[2][split["train"]].bincount().tolist() == [20] * 7


def test_random_splits_cover_all_nodes_once(gnn):
    train, test = gnn.random_split(2708, seed=0)
    assert len(train) == 140
    assert torch.equal(torch.cat([train, test]).sort().values, torch.arange(2708))
    assert torch.equal(train, gnn.random_split(2708, seed=0)[0])
    assert not torch.equal(train, gnn.random_split(2708, seed=1)[0])


# Archives


def members(texts, line_end=b"\n"):
    contents = (text.encode().replace(b"\n", line_end) for text in texts)
    return dict(zip(NAMES, contents, strict=True))


def test_line_ends_do_not_matter(gnn, tmp_path, texts):
    write_tgz(tmp_path / "cora.tgz", members(texts, b"\r\n"))
    assert gnn.read_archive(tmp_path / "cora.tgz") == texts


def truncated(path, _texts):
    path.write_bytes(ARCHIVE.read_bytes()[:100_000])


def empty(path, _texts):
    path.touch()


def no_archive(path, _texts):
    path.write_text("<html>please log in</html>")


def member_missing(path, texts):
    write_tgz(path, {NAMES[0]: members(texts)[NAMES[0]]})


def folder_as_member(path, _texts):
    with tarfile.open(path, "w:gz") as tar:
        for name in NAMES:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)


def one_character_changed(path, texts):
    files = members(texts)
    write_tgz(path, files | {NAMES[1]: b"9" + files[NAMES[1]][1:]})


def checksum_of_the_stream_wrong(path, _texts):
    data = bytearray(ARCHIVE.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        empty,
        no_archive,
        member_missing,
        folder_as_member,
        one_character_changed,
        checksum_of_the_stream_wrong,
    ],
)
def test_damaged_archive_is_named_with_what_was_found(gnn, tmp_path, texts, damage):
    path = tmp_path / "cora.tgz"
    damage(path, texts)
    with pytest.raises(ValueError, match=r"cora\.tgz is not Cora's archive \(\w+: .*delete"):
        gnn.read_archive(path)


def test_any_flipped_byte_is_found(gnn, tmp_path):
    good = ARCHIVE.read_bytes()
    for at in np.linspace(20, len(good) - 20, 8).astype(int):
        data = bytearray(good)
        data[at] ^= 16
        (tmp_path / "cora.tgz").write_bytes(data)
        with pytest.raises(ValueError, match=r"cora\.tgz"):
            gnn.read_archive(tmp_path / "cora.tgz")


def test_an_archive_of_gigabytes_is_refused_by_its_size(gnn, tmp_path):
    path = tmp_path / "cora.tgz"
    zeros = gzip.compress(bytes(2**24), compresslevel=9)
    path.write_bytes(zeros * 128)  # 2 GiB in 2 MB: gzip streams may follow each other
    with pytest.raises(ValueError, match="unpacks to more than"):
        gnn.read_archive(path)


# Downloads, from a server on this machine


@pytest.fixture
def server(tmp_path, monkeypatch, gnn):
    """A folder whose files the two addresses of Cora lead to; no other source has it."""
    folder = tmp_path / "server"
    (folder / "parts").mkdir(parents=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(gnn, "CORA_URL", f"{address}/cora.tgz")
        monkeypatch.setattr(gnn, "CORA_PARTS", f"{address}/parts/")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv("A4_DATA_DIR", raising=False)
        monkeypatch.chdir(tmp_path)
        yield folder
        running.shutdown()
        gc.collect()  # while a warning about pooch's sockets is still ignored


def fetch_cora(gnn):
    options = {"check": gnn.read_archive, "downloader": gnn.download_cora}
    return gnn.fetch("cora.tgz", gnn.CORA_URL, gnn.CORA_PARTS, **options)


@pytest.mark.parametrize("first", ["good", "away", "web page", "other archive"])
def test_each_source_is_tried_and_the_rest_cleaned_up(gnn, server, texts, first):
    if first == "good":
        (server / "cora.tgz").write_bytes(ARCHIVE.read_bytes())
    elif first == "web page":
        no_archive(server / "cora.tgz", texts)
    elif first == "other archive":
        write_tgz(server / "cora.tgz", dict.fromkeys(NAMES, b"1\n"))
    if first != "good":
        for name, content in members(texts, b"\r\n").items():
            (server / "parts" / name.removeprefix("cora/")).write_bytes(content)
    path = fetch_cora(gnn)
    assert gnn.read_archive(path) == texts
    assert [file.name for file in path.parent.iterdir()] == ["cora.tgz"]


def test_without_any_source_the_error_names_file_and_causes(gnn, server):
    no_archive(server / "cora.tgz", None)
    with pytest.raises(FileNotFoundError, match=r"(?s)cora\.tgz.*not Cora's archive.*404"):
        fetch_cora(gnn)


def test_readme_lists_every_bundled_file_with_its_checksum():
    readme = (ROOT / "data" / "README.md").read_text()
    listed = dict(re.findall(r"\| `([\w.]+)` \|.*?`([0-9a-f]{64})`", readme))
    assert set(listed) == {"cora.tgz", "nuclei.zip", "planetoid_split.json"}
    for name, checksum in listed.items():
        assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == checksum
