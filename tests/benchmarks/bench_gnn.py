"""Times the layers of a4-gnn.ipynb against other implementations, and by size of the graph.

Run with ``python tests/benchmarks/bench_gnn.py``. The models of a comparison take turns in one
process, so that a busy machine slows them alike; ratios are medians over the rounds.
"""

import re
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn.functional import dropout, elu, leaky_relu

warnings.filterwarnings("ignore", category=FutureWarning)  # of PyG's import, about itself
warnings.filterwarnings("ignore", "Sparse ", UserWarning)  # CSR tensors are in beta
from torch_geometric.nn import GATConv, GCNConv  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from definitions import load_definitions  # noqa: E402

gnn = load_definitions(ROOT / "a4-gnn.ipynb")
torch.use_deterministic_algorithms(True)  # as in the notebook
SIZES = [10**3, 10**4, 10**5, 10**6]


class PygGCN(nn.Module):
    """Two GCNConv as in PyTorch Geometric's example, with the normalisation cached."""

    def __init__(self, nfeat, n_classes):
        super().__init__()
        self.layer1 = GCNConv(nfeat, 16, cached=True)
        self.layer2 = GCNConv(16, n_classes, cached=True)

    def forward(self, x, edge_index):
        hidden = dropout(self.layer1(x, edge_index).relu(), 0.5, self.training)
        return self.layer2(hidden, edge_index)


class PygGAT(nn.Module):
    """Two GATConv as in PyTorch Geometric's example."""

    def __init__(self, nfeat, n_classes):
        super().__init__()
        self.layer1 = GATConv(nfeat, 8, heads=8, dropout=0.6)
        self.layer2 = GATConv(64, n_classes, concat=False, dropout=0.6)

    def forward(self, x, edge_index):
        if x.is_sparse:
            values = dropout(x.values(), 0.6, self.training)
            x = torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True)
        else:
            x = dropout(x, 0.6, self.training)
        hidden = elu(self.layer1(x, edge_index))
        return self.layer2(dropout(hidden, 0.6, self.training), edge_index)


class DenseGAT(gnn.GAT):
    """The same parameters with scores for all pairs of nodes, [N, N, heads]."""

    def layer(self, layer, h, adj):
        s = (h @ layer.weight).view(len(h), layer.n_heads, -1)
        left, right = torch.einsum("nhc,khc->knh", s, layer.attention)
        scores = leaky_relu(left[:, None] + right[None], layer.alpha)
        scores = scores.masked_fill(adj[:, :, None] == 0, -torch.inf)
        weights = dropout(scores.softmax(dim=1), layer.dropout, self.training)
        out = torch.einsum("ijh,jhc->ihc", weights, s)
        return out.flatten(1) if layer.is_concat else out.mean(1)

    def forward(self, x, adj):
        hidden = elu(self.layer(self.layer1, dropout(x, self.dropout, self.training), adj))
        return self.layer(self.layer2, dropout(hidden, self.dropout, self.training), adj)


def training(model, x, adj, y, index):
    """A function that makes one of the notebook's training steps, whatever the model."""
    optimiser = gnn.adam(model, 0.005, 5e-4)
    return lambda: gnn.train_step(model, optimiser, x, adj, y, index)


def seconds(step, repeats):
    """Mean time of a step."""
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def cora_inputs():
    """Features and Ã, edge list, labels and public training nodes; x and Ã are dense."""
    _, words, labels, cites = gnn.parse_cora(*gnn.read_archive(ROOT / "data" / "cora.tgz"))
    index = gnn.adjacency(cites, len(labels))
    edges = index[:, index[0] != index[1]]  # PyG adds the self-loops itself
    x, adj = words / words.sum(1, keepdim=True), gnn.normalise(index, len(labels)).to_dense()
    return x, adj, edges, labels, gnn.public_split()["train"]


def compare(title, steps, rounds=9):
    """Times the steps in turns; prints medians and ratios to the first."""
    repeats = {name: 1 if "dense" in name else 20 for name in steps}
    times = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, repeats[name]))
    ours = times[next(iter(steps))]
    print(
        f"\n{title}: training step on Cora, {torch.get_num_threads()} threads, {rounds} rounds"
    )
    for name, values in times.items():
        ratio = median(a / b for a, b in zip(values, ours, strict=True))
        print(f"  {name:24s} {1e3 * median(values):9.2f} ms   {ratio:7.1f} x ours")


def compare_on_cora():
    """Both models against PyTorch Geometric and the dense definition."""
    torch.manual_seed(0)
    x, adj, edges, y, index = cora_inputs()
    ours = gnn.SparseMatrix(x), gnn.SparseMatrix(adj)
    sparse_x = x.to_sparse_coo().coalesce()
    gcn, gat = (1433, 16, 7, 0.5), (1433, 64, 7, 8, 0.6, 0.2)
    compare(
        "GCN, 16 hidden units",
        {
            "this notebook": training(gnn.GCN(*gcn), *ours, y, index),
            "PyG GCNConv, cached": training(PygGCN(1433, 7), x, edges, y, index),
            "the same, sparse features": training(PygGCN(1433, 7), sparse_x, edges, y, index),
            "this notebook, COO": training(
                gnn.GCN(*gcn), sparse_x, adj.to_sparse_coo(), y, index
            ),
            "dense definition": training(gnn.GCN(*gcn), x, adj, y, index),
        },
    )
    compare(
        "GAT, 8 heads of 8",
        {
            "this notebook": training(gnn.GAT(*gat), *ours, y, index),
            "PyG GATConv": training(PygGAT(1433, 7), x, edges, y, index),
            "the same, sparse features": training(PygGAT(1433, 7), sparse_x, edges, y, index),
            "dense definition": training(DenseGAT(*gat), x, adj, y, index),
        },
        rounds=5,
    )


def peak_memory():
    """Peak resident memory of this process in MB (Linux); a child does not inherit this one."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def one_size(kind, n):
    """Prints step time in s and peak memory in MB on a random graph of n nodes (degree 10)."""
    torch.manual_seed(0)
    ends = torch.randint(n, (2, 5 * n))
    loops = torch.arange(n).expand(2, n)
    index = torch.cat([ends, ends.flip(0), loops], dim=1)
    weights = torch.full((index.shape[1],), 1 / 11)
    adj = torch.sparse_coo_tensor(index, weights, (n, n), check_invariants=True)
    adj = gnn.SparseMatrix(adj)
    del ends, loops, index, weights
    x, y = torch.randn(n, 32), torch.randint(8, (n,))
    model = gnn.GCN(32, 16, 8, 0.5) if kind == "GCN" else gnn.GAT(32, 16, 8, 4, 0.5, 0.2)
    step = training(model, x, adj, y, torch.arange(n))
    step()
    repeats = max(1, min(50, 10**6 // n))
    value = median(seconds(step, repeats) for _ in range(3))
    print(value, peak_memory())


def cora_memory():
    """Prints the peak memory in MB of twenty epochs of the 8x8 GAT on Cora."""
    x, adj, _, y, index = cora_inputs()
    x, adj = gnn.SparseMatrix(x), gnn.SparseMatrix(adj)
    step = training(gnn.GAT(1433, 64, 7, 8, 0.6, 0.2), x, adj, y, index)
    seconds(step, 20)
    print(peak_memory())


def alone(call):
    """Runs a call of this file in a fresh process, so that peak memory is its own."""
    command = [sys.executable, "-c", f"import bench_gnn; bench_gnn.{call}"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return [float(value) for value in done.stdout.split()]


def scale():
    """How time and memory grow with the graph, with a fitted exponent."""
    for kind in ("GCN", "GAT"):
        print(f"\n{kind}: random graphs, average degree 10")
        times, memory = zip(*(alone(f"one_size({kind!r}, {n})") for n in SIZES), strict=True)
        for n, t, m in zip(SIZES, times, memory, strict=True):
            print(f"  {n:>9,} nodes {1e3 * t:10.2f} ms a step {m:8.0f} MB peak")
        slope = np.polyfit(np.log(SIZES[1:]), np.log(times[1:]), 1)[0]
        print(f"  time grows as nodes^{slope:.2f} from {SIZES[1]:,} nodes on")


if __name__ == "__main__":
    compare_on_cora()
    print(f"\nGAT on Cora: {alone('cora_memory()')[0]:.0f} MB peak, libraries included")
    scale()
