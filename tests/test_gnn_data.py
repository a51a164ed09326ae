"""Cora and its splits, and what happens when a file is broken or the network is away."""

import hashlib
import json
import os
import re
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import ROOT, write_tgz

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # CSR is in beta

ARCHIVE = ROOT / "data" / "cora.tgz"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working folder with no setting that points to data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("A4_DATA_DIR", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def texts(gnn):
    return gnn.read_archive(ARCHIVE)


@pytest.fixture(scope="module")
def cora(gnn, texts):
    return gnn.parse_cora(texts)


def no_network(url, *_args, **_kwargs):
    raise urllib.error.URLError("no network")


# What Cora is


def test_statistics(gnn, cora):
    assert cora.words.shape == (2708, 1433)
    assert cora.words.nnz == cora.words.sum() == 49216
    assert cora.cites.shape == (5429, 2)
    assert dict(zip(cora.classes, np.bincount(cora.labels).tolist(), strict=True)) == {
        "Case_Based": 298,
        "Genetic_Algorithms": 418,
        "Neural_Networks": 818,
        "Probabilistic_Methods": 426,
        "Reinforcement_Learning": 217,
        "Rule_Learning": 180,
        "Theory": 351,
    }
    assert gnn.undirected_adjacency(cora.cites, 2708).nnz == 2 * 5278


def test_parsing_agrees_with_a_plain_reading_of_the_lines(cora, texts):
    for i, line in list(enumerate(texts["cora.content"].splitlines()))[::97]:
        paper, *words, name = line.split("\t")
        assert cora.papers[i] == int(paper)
        assert cora.words[[i]].toarray()[0].tolist() == [float(word) for word in words]
        assert cora.classes[cora.labels[i]] == name
    pairs = [
        [int(paper) for paper in line.split()] for line in texts["cora.cites"].splitlines()
    ]
    assert cora.papers[cora.cites].tolist() == pairs


def test_adjacency_is_symmetric_without_loops_or_doubles(gnn):
    adj = gnn.undirected_adjacency(np.array([[0, 1], [1, 0], [2, 2], [1, 3], [1, 3]]), 5)
    expected = np.zeros((5, 5))
    expected[[0, 1, 1, 3], [1, 0, 3, 1]] = 1
    assert adj.toarray().tolist() == expected.tolist()
    assert adj.nnz == 4


def test_normalised_adjacency_is_the_handouts(gnn, cora):
    adj = gnn.undirected_adjacency(cora.cites, 2708)
    a_hat = adj.toarray().astype(float) + np.eye(2708)
    root = a_hat.sum(1) ** -0.5
    normalised = gnn.normalise_adjacency(adj)
    assert normalised.nnz == 13264
    np.testing.assert_allclose(normalised.toarray(), root[:, None] * a_hat * root, rtol=1e-6)


def test_rows_sum_to_one_and_an_empty_row_stays_empty(gnn, cora):
    np.testing.assert_allclose(gnn.normalise_rows(cora.words).sum(axis=1), 1, rtol=1e-6)
    rows = gnn.normalise_rows(cora.words[:3].multiply([[1], [0], [1]]).tocsr())
    np.testing.assert_allclose(np.asarray(rows.sum(axis=1)).ravel(), [1, 0, 1], rtol=1e-6)


def test_to_torch_is_the_same_matrix(gnn, cora):
    tensor = gnn.to_torch(cora.words.tocsc().tocsr(), torch.device("cpu"))
    assert tensor.layout == torch.sparse_csr
    assert np.array_equal(tensor.to_dense().numpy(), cora.words.toarray())


# Splits


def test_public_split_is_the_bundled_one(gnn, cora):
    listed = json.loads((ROOT / "data" / "planetoid_split.json").read_text())
    split = gnn.public_split()
    assert set(split) == set(listed) == {"train", "val", "test"}
    for role, index in split.items():
        assert set(cora.papers[index].tolist()) == set(listed[role])
        assert len(index) == len(listed[role])


def test_public_split_is_disjoint_and_balanced(gnn, cora):
    split = gnn.public_split()
    assert [len(split[role]) for role in ("train", "val", "test")] == [140, 500, 1000]
    assert len(torch.cat(list(split.values())).unique()) == 1640
    assert np.bincount(cora.labels[split["train"]]).tolist() == [20] * 7


def test_random_splits_cover_all_nodes_once(gnn):
    split = gnn.random_split(2708, seed=0)
    assert len(split["train"]) == 140
    assert torch.equal(torch.cat(list(split.values())).sort().values, torch.arange(2708))
    assert torch.equal(split["train"], gnn.random_split(2708, seed=0)["train"])
    assert not torch.equal(split["train"], gnn.random_split(2708, seed=1)["train"])


# Where Cora is looked for


def test_folder_data_comes_first(gnn, empty, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    (empty / "data").mkdir()
    (empty / "data" / "cora.tgz").write_bytes(ARCHIVE.read_bytes())
    (empty / "elsewhere").mkdir()
    (empty / "elsewhere" / "cora.tgz").write_bytes(b"broken")
    monkeypatch.setenv("A4_DATA_DIR", str(empty / "elsewhere"))
    assert gnn.load_cora_texts()["cora.cites"].count("\n") == 5429


def test_setting_comes_second(gnn, empty, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setenv("A4_DATA_DIR", str(ARCHIVE.parent))
    assert gnn.load_cora_texts()["cora.cites"].count("\n") == 5429
    assert os.listdir(empty) == []


def test_download_comes_last_and_is_kept(gnn, empty, monkeypatch, texts):
    asked = []

    def download(url, target, *_args, **_kwargs):
        asked.append(url)
        Path(target).write_bytes(ARCHIVE.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert gnn.load_cora_texts() == gnn.load_cora_texts() == texts
    assert asked == [gnn.CORA_URL]
    assert os.listdir(empty) == ["data"]
    assert os.listdir(empty / "data") == ["cora.tgz"]


@pytest.mark.parametrize("first", ["away", "web page", "other archive"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_second_source(gnn, empty, monkeypatch, texts, first, line_end):
    def download(url, target, *_args, **_kwargs):
        if url.startswith(gnn.CORA_SECOND_URL):
            name = url.removeprefix(gnn.CORA_SECOND_URL)
            Path(target).write_bytes(texts[name].encode().replace(b"\n", line_end))
        elif first == "away":
            no_network(url)
        elif first == "web page":
            Path(target).write_text("<html>moved</html>")
        else:
            write_tgz(target, {"cora/cora.content": b"1\n", "cora/cora.cites": b"1\n"})

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert gnn.load_cora_texts() == texts
    assert os.listdir(empty) == ["data"]
    assert os.listdir(empty / "data") == ["cora.tgz"]


# What is wrong with Cora


def test_without_network_the_error_says_what_to_do(gnn, empty, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(OSError, match=r"no network.*cora\.tgz.*data/.*A4_DATA_DIR"):
        gnn.load_cora_texts()
    assert os.listdir(empty) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ConnectionResetError, TimeoutError])
def test_interrupted_download_leaves_nothing(gnn, empty, monkeypatch, error):
    def download(_url, target, *_args, **_kwargs):
        Path(target).write_bytes(ARCHIVE.read_bytes()[:50_000])
        raise error("cut off")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises((KeyboardInterrupt, OSError)):
        gnn.load_cora_texts()
    assert os.listdir(empty) == []


def test_a_download_of_something_else_is_not_kept(gnn, empty, monkeypatch):
    def download(_url, target, *_args, **_kwargs):
        Path(target).write_text("<html>please log in</html>")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(OSError, match="cora"):
        gnn.load_cora_texts()
    assert os.listdir(empty) == []


@pytest.mark.parametrize("length", [0, 10, 1_000, 50_000, 133_000])
def test_truncated_archive(gnn, empty, length):
    path = empty / "cora.tgz"
    path.write_bytes(ARCHIVE.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"cora\.tgz.*expected.*found.*[Dd]elete"):
        gnn.read_archive(path)


@pytest.mark.parametrize("kind", ["text", "no member", "folder as member", "flipped byte"])
def test_wrong_file(gnn, empty, texts, kind):
    path = empty / "cora.tgz"
    content, cites = (texts[name].encode() for name in ("cora.content", "cora.cites"))
    if kind == "text":
        path.write_text("not an archive")
    elif kind == "no member":
        write_tgz(path, {"cora/cora.content": content})
    elif kind == "folder as member":
        with tarfile.open(path, "w:gz") as tar:
            for name in ("cora/cora.content", "cora/cora.cites"):
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
    else:
        write_tgz(path, {"cora/cora.content": content, "cora/cora.cites": b"9" + cites[1:]})
    with pytest.raises(ValueError, match=r"cora\.tgz.*expected.*found.*[Dd]elete"):
        gnn.read_archive(path)


def test_line_ends_do_not_matter(gnn, empty, texts):
    members = {f"cora/{k}": v.encode().replace(b"\n", b"\r\n") for k, v in texts.items()}
    write_tgz(empty / "cora.tgz", members)
    assert gnn.read_archive(empty / "cora.tgz") == texts


def test_readme_lists_every_bundled_file_with_its_checksum():
    readme = (ROOT / "data" / "README.md").read_text()
    listed = dict(re.findall(r"\| `([\w.]+)` \|.*?`([0-9a-f]{64})`", readme))
    assert set(listed) == {"cora.tgz", "nuclei.zip", "planetoid_split.json"}
    for name, checksum in listed.items():
        assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == checksum
