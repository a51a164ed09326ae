"""Fixtures: what the two notebooks define, and Cora."""

from types import ModuleType, SimpleNamespace

import pytest
import torch
from definitions import ROOT, load_definitions


@pytest.fixture(scope="session")
def gnn() -> ModuleType:
    """What ``a4-gnn.ipynb`` defines."""
    return load_definitions(ROOT / "a4-gnn.ipynb")


@pytest.fixture(scope="session")
def unet() -> ModuleType:
    """What ``a4-unet.ipynb`` defines."""
    return load_definitions(ROOT / "a4-unet.ipynb")


@pytest.fixture(scope="session")
def cora(gnn) -> SimpleNamespace:
    """Cora as tensors: x, y and the normalized adjacency; and as it is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        papers, words, pairs = gnn.read_cora()
    y = torch.tensor(papers["topic"].astype("category").cat.codes.to_numpy()).long()
    x = words / words.sum(dim=1, keepdim=True)
    adj = gnn.normalize(gnn.adjacency(pairs, len(y)))
    return SimpleNamespace(papers=papers, words=words, pairs=pairs, x=x, y=y, adj=adj)


@pytest.fixture
def prepare(gnn, cora, monkeypatch):
    """A function that gives the module the variables that its trainings read."""

    def on(device):
        adj = gnn.SparseMatrix.from_dense(cora.adj.to(device))
        values = {"device": device, "n_nodes": 2708, "n_words": 1433, "n_classes": 7}
        values |= {"x": cora.x.to(device), "y": cora.y.to(device)}
        values |= {"adj_norm": cora.adj.to(device), "graphs": {"GCN": adj, "GAT": adj}}
        values |= {"sparse_x": gnn.SparseMatrix.from_dense(values["x"])}
        values |= {"scored_epochs": [2, 4], "patience": 10}
        for name, value in values.items():
            monkeypatch.setattr(gnn, name, value, raising=False)
        for name, nodes in zip(("train", "val", "test"), gnn.public_split(), strict=True):
            monkeypatch.setattr(gnn, name, nodes, raising=False)
        return gnn

    return on
