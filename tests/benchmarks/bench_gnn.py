"""Times the layers of a4-gnn.ipynb against PyTorch Geometric, and by size of the graph.

Run ``python tests/benchmarks/bench_gnn.py``. All models use one thread and take turns in one
process, so that a busy machine slows them alike; ratios are medians over the rounds.
"""

import os
import resource
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore", category=FutureWarning)  # of PyG's import, about itself
warnings.filterwarnings("ignore", "Sparse ", UserWarning)  # CSR tensors are in beta
from torch_geometric.nn import GATConv, GCNConv  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from definitions import load_definitions  # noqa: E402

os.chdir(ROOT)
torch.set_num_threads(1)
gnn = load_definitions(ROOT / "a4-gnn.ipynb")


class PygGCN(nn.Module):
    """Two GCNConv as in PyTorch Geometric's example, with the normalization cached."""

    def __init__(self):
        super().__init__()
        self.layer1 = GCNConv(1433, 16, cached=True)
        self.layer2 = GCNConv(16, 7, cached=True)

    def forward(self, x, edges):
        hidden = F.dropout(self.layer1(x, edges).relu(), 0.5, self.training)
        return self.layer2(hidden, edges)


class PygGAT(nn.Module):
    """Two GATConv as in PyTorch Geometric's example."""

    def __init__(self):
        super().__init__()
        self.layer1 = GATConv(1433, 8, heads=8, dropout=0.6)
        self.layer2 = GATConv(64, 7, concat=False, dropout=0.6)

    def forward(self, x, edges):
        if x.is_sparse:
            values = F.dropout(x.values(), 0.6, self.training)
            x = torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True)
        else:
            x = F.dropout(x, 0.6, self.training)
        hidden = F.elu(self.layer1(x, edges))
        return self.layer2(F.dropout(hidden, 0.6, self.training), edges)


def seconds(step, repeats):
    """Mean time of a step."""
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def training(model, x, adj, y, nodes):
    """A function that makes one training step of the notebook."""
    optimizer = gnn.make_optimizer(model, lr=0.01)
    return lambda: gnn.train_step(model, optimizer, x, adj, y, nodes)


def compare(title, steps, rounds=9):
    """Time the steps in turns; print medians and ratios to the first."""
    times = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, 3 if "dense tensors" in name else 15))
    ours = next(iter(times.values()))
    print(f"\n{title}: training step on Cora, one thread, {rounds} rounds")
    for name, values in times.items():
        ratio = median(a / b for a, b in zip(values, ours, strict=True))
        print(f"  {name:24s} {1e3 * median(values):9.2f} ms   {ratio:6.1f} x ours")


def compare_on_cora():
    """Both models against PyTorch Geometric, and our layers with dense tensors."""
    torch.manual_seed(0)
    papers, words, pairs = gnn.read_cora()
    y = torch.tensor(papers["topic"].astype("category").cat.codes.to_numpy()).long()
    x = words / words.sum(dim=1, keepdim=True)
    adj = gnn.adjacency(pairs, len(x))
    edges = (adj - torch.eye(len(x))).nonzero().T  # PyG adds the self-loops itself
    adj = gnn.normalize(adj)
    sparse = gnn.SparseMatrix.from_dense(x), gnn.SparseMatrix.from_dense(adj)
    nodes = gnn.public_split()[0]
    theirs = {"GCN": PygGCN, "GAT": PygGAT}
    for name, build in (
        ("GCN", lambda: gnn.GCN(1433, 16, 7, 0.5)),
        ("GAT", lambda: gnn.GAT(1433, 64, 7, 8, 0.6, 0.2)),
    ):
        steps = {
            "ours, SparseMatrix": training(build(), *sparse, y, nodes),
            "PyG, dense features": training(theirs[name](), x, edges, y, nodes),
            "PyG, sparse features": training(
                theirs[name](), x.to_sparse_coo().coalesce(), edges, y, nodes
            ),
            "ours, dense tensors": training(build(), x, adj, y, nodes),
        }
        compare(name, steps)


def compare_sizes():
    """How the time of a step grows with the graph (average degree 10)."""
    for n in (10**3, 10**4, 10**5, 10**6):
        ends, loops = torch.randint(n, (2, 5 * n)), torch.arange(n).expand(2, n)
        index = torch.cat([ends, ends.flip(0), loops], dim=1)
        adj = gnn.SparseMatrix(index, torch.full((11 * n,), 1 / 11), (n, n))
        x, y, nodes = torch.randn(n, 32), torch.randint(8, (n,)), torch.arange(n)
        for name, model in (
            ("GCN", gnn.GCN(32, 16, 8, 0.5)),
            ("GAT", gnn.GAT(32, 16, 8, 4, 0.5, 0.2)),
        ):
            step = training(model, x, adj, y, nodes)
            step()
            print(f"  {name}, {n:>9,} nodes {1e3 * seconds(step, 2):10.2f} ms a step")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    compare_on_cora()
    compare_sizes()
