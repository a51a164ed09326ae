"""Cora, its graph and its splits."""

import json

import torch
from definitions import ROOT


def test_reading_agrees_with_the_lines(cora):
    papers, words, pairs = cora.papers, cora.words, cora.pairs
    lines = (ROOT / "data" / "cora.content").read_text(encoding="utf-8").splitlines()
    for row in range(0, len(lines), 97):
        paper, *ones, topic = lines[row].split("\t")
        assert tuple(papers.loc[row, ["paper", "topic"]]) == (int(paper), topic)
        assert words[row].tolist() == [float(one) for one in ones]
    cites = (ROOT / "data" / "cora.cites").read_text(encoding="utf-8").splitlines()
    numbers = papers["paper"].to_numpy()
    for row in range(0, len(cites), 97):
        assert numbers[pairs[row].numpy()].tolist() == [int(n) for n in cites[row].split()]


def test_adjacency_links_both_ways_and_to_itself(gnn):
    adj = gnn.adjacency(torch.tensor([[0, 1], [1, 0], [2, 2], [1, 3], [1, 3]]), 5)
    expected = torch.eye(5)
    expected[[0, 1, 1, 3], [1, 0, 3, 1]] = 1
    assert torch.equal(adj, expected)


def test_public_split_is_the_bundled_one(gnn, cora):
    listed = json.loads((ROOT / "data" / "planetoid_split.json").read_text(encoding="utf-8"))
    papers = cora.papers
    for name, nodes in zip(("train", "val", "test"), gnn.public_split(), strict=True):
        assert sorted(papers["paper"][nodes.numpy()]) == sorted(listed[name])
    assert papers["topic"][gnn.public_split()[0].numpy()].value_counts().tolist() == [20] * 7


def test_random_split_covers_all_nodes_once(gnn):
    train, test = gnn.random_split(2708, seed=0)
    assert len(train) == 140
    assert torch.equal(torch.cat([train, test]).sort().values, torch.arange(2708))
    assert torch.equal(train, gnn.random_split(2708, seed=0)[0])
    assert not torch.equal(train, gnn.random_split(2708, seed=1)[0])
