"""The layers and trainings of a4-gnn.ipynb against definitions and PyTorch Geometric."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from torch.nn import functional as F

with warnings.catch_warnings():  # its import warns about its own use of TorchScript
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GATConv, GCNConv

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # CSR is in beta
MODELS = pytest.mark.parametrize("name", ["GCN", "GAT"])


def random_graph(n=12):
    """A directed, weighted graph in which nodes 3 and 7 have no edge."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(n, n, generator=generator, dtype=torch.float64) + 0.1
    adj = weight * (torch.rand(n, n, generator=generator) < 0.25)
    adj[[3, 7]] = 0
    adj[:, [3, 7]] = 0
    return adj


GRAPHS = {
    "random": random_graph(),
    "self-loops only": torch.eye(4).double(),
    "one edge": torch.tensor([[0.0, 0.5], [0.0, 0.0]]).double(),
    "complete": torch.ones(6, 6).double(),
}


@pytest.fixture(params=GRAPHS)
def graph(request):
    return GRAPHS[request.param]


def features(n=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 7, generator=generator, dtype=torch.float64)


def randomize(module):
    """The module in float64 with random parameters."""
    torch.manual_seed(2)
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter)
    return module


def build(gnn, name, dropout=0.5):
    if name == "GCN":
        return randomize(gnn.GCN(7, 6, 4, dropout))
    return randomize(gnn.GAT(7, 6, 4, 3, dropout, 0.2))


def attention_layer(gnn, n_heads=3, is_concat=True):
    return randomize(gnn.GraphAttentionLayer(7, 6, n_heads, is_concat, dropout=0.0))


def dense_attention(layer, h, adj):
    """The paper's equations 1 to 6, over all pairs of nodes."""
    n, outputs = len(h), []
    s = (h @ layer.weight).view(n, layer.n_heads, -1)
    for k in range(layer.n_heads):
        first = s[:, None, k].expand(-1, n, -1)
        second = s[None, :, k].expand(n, -1, -1)
        a = torch.cat([layer.a_left[k], layer.a_right[k]])
        scores = F.leaky_relu(torch.cat([first, second], dim=-1) @ a, layer.slope)
        scores = scores.masked_fill(adj == 0, -math.inf)
        alpha = scores.softmax(dim=1).nan_to_num(0.0)  # NaN: a node without an edge
        outputs.append(alpha @ s[:, k])
    return torch.cat(outputs, 1) if layer.is_concat else torch.stack(outputs).mean(0)


# --- Definitions


@pytest.mark.parametrize(("n_heads", "is_concat"), [(3, True), (3, False), (1, True)])
def test_attention_is_its_equation(gnn, graph, n_heads, is_concat):
    x, layer = features(len(graph)), attention_layer(gnn, n_heads, is_concat)
    torch.testing.assert_close(layer(x, graph), dense_attention(layer, x, graph))


def test_networks_are_their_equations(gnn):
    adj, x = random_graph(), features()
    gcn, gat = build(gnn, "GCN").eval(), build(gnn, "GAT").eval()
    w0, b0, w1, b1 = gcn.parameters()
    torch.testing.assert_close(gcn(x, adj), adj @ F.relu(adj @ x @ w0 + b0) @ w1 + b1)
    hidden = F.elu(dense_attention(gat.layer1, x, adj))
    torch.testing.assert_close(gat(x, adj), dense_attention(gat.layer2, hidden, adj))


def test_graph_convolution_equals_pyg(gnn):
    pairs = random_graph().triu(1).nonzero()
    theirs, ours = GCNConv(7, 5).double(), gnn.GraphConvolution(7, 5).double()
    ours.load_state_dict({"weight": theirs.lin.weight.T, "bias": theirs.bias})
    adj = gnn.normalize(gnn.adjacency(pairs, 12)).double()
    expected = theirs(features(), torch.cat([pairs, pairs.flip(1)]).T)
    torch.testing.assert_close(ours(features(), adj), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("is_concat", [True, False])
def test_attention_equals_pyg(gnn, graph, is_concat):
    x, ours = features(len(graph)), attention_layer(gnn, 3, is_concat)
    options = {"concat": is_concat, "add_self_loops": False, "bias": False}
    theirs = GATConv(7, ours.n_hidden, 3, **options).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.weight.T)
        theirs.att_dst.copy_(ours.a_left)
        theirs.att_src.copy_(ours.a_right)
    expected = theirs(x, graph.nonzero().T.flip(0))  # their edges: from source to target
    torch.testing.assert_close(ours(x, graph), expected)


@MODELS
def test_gradients_by_finite_differences(gnn, name):
    model, adj = build(gnn, name).eval(), random_graph(8)
    names, values = zip(*model.named_parameters(), strict=True)

    def run(x, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(model, named, (x, adj))

    assert torch.autograd.gradcheck(run, (features(8).requires_grad_(), *values))


# --- Limits


def test_huge_scores_do_not_overflow(gnn):
    layer = attention_layer(gnn).float()
    layer.a_right.data *= 1000
    output = layer(features().float(), random_graph().float())
    output.sum().backward()
    assert output.isfinite().all()
    assert layer.weight.grad.isfinite().all()


@MODELS
def test_wrong_shapes_raise(gnn, name):
    model, adj, x = build(gnn, name), random_graph(), features()
    for bad_x, bad_adj in ((x[:, :5], adj), (x[:4], adj)):
        with pytest.raises((RuntimeError, IndexError)):
            model(bad_x, bad_adj)


def test_heads_must_divide_the_features(gnn):
    with pytest.raises(AssertionError):
        gnn.GraphAttentionLayer(7, 6, n_heads=4)
    assert gnn.GraphAttentionLayer(7, 6, n_heads=4, is_concat=False).n_hidden == 6


# --- Dropout and training


@pytest.mark.parametrize(
    ("name", "part"), [("GCN", ""), ("GAT", ""), ("GAT", "layer1"), ("GAT", "layer2")]
)
def test_dropout_acts_in_each_layer(gnn, name, part):
    model, adj, x = build(gnn, name, dropout=0.0), random_graph(), features()
    assert torch.equal(model.train()(x, adj), model.eval()(x, adj))
    model.get_submodule(part).dropout.p = 0.9
    assert not torch.equal(model.train()(x, adj), model.eval()(x, adj))


def test_gat_drops_the_inputs_of_both_layers(gnn):
    model, shapes = build(gnn, "GAT"), []
    model.dropout.register_forward_hook(lambda _, inputs, output: shapes.append(output.shape))
    model(features(), random_graph())
    assert shapes == [(12, 7), (12, 6)]


@MODELS
def test_starters_driver_runs_and_learns(gnn, cora, name):
    features, labels, adj = cora.x[:800], cora.y[:800], cora.adj[:800, :800]
    torch.manual_seed(0)
    order = torch.randperm(800)
    idx_train, idx_test = order[:140], order[140:]
    if name == "GCN":
        model = gnn.GCN(features.shape[1], 16, 7, 0.5)
    else:
        model = gnn.GAT(features.shape[1], 16, 7, 8, 0.5, 0.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(60):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(features, adj)[idx_train], labels[idx_train]).backward()
        optimizer.step()
    predicted = model.eval()(features, adj).argmax(dim=1)
    share = (predicted == labels)[idx_test].float().mean()
    assert share > 0.4  # the commonest class has 0.3


def test_one_worker_equals_two(prepare, monkeypatch):
    notebook = prepare(torch.device("cpu"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:Sparse CSR")
    settings = []
    for seed in range(2):
        for model in ("GCN", "GAT"):
            settings.append({"model": model, "seed": seed, "lr": 0.01, "epochs": 4})
    one = notebook.run_parallel(notebook.train_on_split, settings, n_jobs=1)
    two = notebook.run_parallel(notebook.train_on_split, settings, n_jobs=2)
    assert one == two
    assert [row["epochs"] for row in one[0]] == [2, 4]


def test_training_keeps_the_best_epoch(prepare, monkeypatch):
    notebook = prepare(torch.device("cpu"))
    losses = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.2])  # after 5, 10, ... epochs
    logits = [torch.rand(2708, 7) for _ in range(6)]
    rest = iter(logits)
    monkeypatch.setattr(F, "cross_entropy", lambda *_: torch.tensor(next(losses)))
    monkeypatch.setattr(notebook, "train_step", lambda *_: None)
    monkeypatch.setattr(notebook, "predict", lambda *_: next(rest))
    run = notebook.train_on_public_split("equal terms", "GCN", 16, 0.5, 0.01, seed=0)
    right = [(z.argmax(dim=1) == notebook.y)[notebook.test].tolist() for z in logits]
    assert run["best"].tolist() == right[3]
    assert run["last"].tolist() == right[5]
    assert next(rest, None) is None


# --- Sparse matrices


@MODELS
def test_sparse_matrix_gives_the_same_values_and_gradients(gnn, name):
    x, adj, model = features() * (features() > 0), random_graph(), build(gnn, name).eval()
    found = []
    for convert in (torch.Tensor.clone, gnn.SparseMatrix.from_dense):
        output = model(convert(x), convert(adj))
        gradients = torch.autograd.grad(output.square().sum(), list(model.parameters()))
        found.append([output, *gradients])
    torch.testing.assert_close(found[0], found[1])


def test_sparse_matrix_sums_duplicates_in_any_order(gnn):
    index = torch.tensor([[2, 0, 2], [1, 2, 1]])
    matrix = gnn.SparseMatrix(index, torch.tensor([1.0, 2.0, 3.0]), (3, 4))
    expected = torch.zeros(3, 4)
    expected[0, 2], expected[2, 1] = 2, 4
    assert torch.equal(matrix @ torch.eye(4), expected)
    assert torch.equal(matrix.nonzero(), expected.nonzero())


@pytest.mark.parametrize("bad", [-1, 3])
def test_sparse_matrix_refuses_an_index_out_of_range(gnn, bad):
    with pytest.raises(RuntimeError, match="index"):
        gnn.SparseMatrix(torch.tensor([[0, 1], [0, bad]]), torch.ones(2), (3, 3))


def test_dropout_of_a_sparse_matrix_keeps_zeros_and_mean(gnn):
    torch.manual_seed(0)
    x = torch.ones(200, 200).tril()
    dropped = torch.nn.Dropout(0.6)(gnn.SparseMatrix.from_dense(x)) @ torch.eye(200)
    assert set(dropped.unique().tolist()) == {0.0, 2.5}
    assert dropped.triu(1).count_nonzero() == 0
    assert dropped.sum() / x.sum() == pytest.approx(1, abs=0.02)


# --- The comparison


def test_equal_weights_are_row_averages(gnn):
    adj = gnn.adjacency(random_graph().nonzero(), 12).double()
    torch.manual_seed(0)
    equal = gnn.build_model("equal weights", 7, 4).double().eval()
    row = gnn.build_model("row averages", 7, 4).double().eval()
    row.load_state_dict({key: equal.state_dict()[key] for key in row.state_dict()})
    averages = adj / adj.sum(dim=1, keepdim=True)
    torch.testing.assert_close(row(features(), averages), equal(features(), adj))


def test_models_of_the_ladder_start_alike_and_train_what_they_should(gnn):
    trained = {"GCN": 4, "no bias": 2, "ELU": 2, "equal weights": 2, "GAT": 6}
    weights = []
    for name, n_trained in trained.items():
        torch.manual_seed(0)
        model = gnn.build_model(name, 7, 4).double()
        weights.append(model.layer1.weight.tolist())
        model(features(), random_graph()).sum().backward()
        assert sum(p.grad is not None for p in model.parameters()) == n_trained
    assert weights == 5 * weights[:1]


def test_confidence_interval_is_students(gnn):
    values = np.random.default_rng(0).normal(0.1, 1, 12)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert gnn.confidence_interval(values) == pytest.approx((values.mean(), *expected))


def test_bootstrap_covers_seeds_and_papers(gnn):
    generator = np.random.default_rng(1)
    papers = np.tile(generator.random(1000) < 0.8, (10, 1)).astype(float)
    mean, low, high = gnn.bootstrap_interval(papers)  # only papers differ
    assert mean == papers.mean()
    assert (high - low) / 2 == pytest.approx(1.96 * papers[0].std() / 1000**0.5, rel=0.1)
    seeds = np.tile(generator.normal(0.8, 0.1, (10, 1)), (1, 1000))  # only seeds differ
    mean, low, high = gnn.bootstrap_interval(seeds)
    assert (high - low) / 2 == pytest.approx(1.96 * seeds[:, 0].std() / 10**0.5, rel=0.1)


def test_entropy_is_one_for_equal_weights_and_zero_for_one_neighbor(gnn):
    adj, h = torch.ones(5, 5).tril(), torch.arange(5.0)[:, None]
    layer = gnn.GraphAttentionLayer(1, 2, 2)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.a_left)
    layer.a_right.data = torch.tensor([[0.0], [100.0]])  # head 1 sees the largest feature
    entropy = gnn.attention_entropy(layer, h, adj)[1:]  # node 0 has a single edge
    np.testing.assert_allclose(entropy[:, 0], 1, rtol=1e-5)
    assert entropy[:, 1].max() < 1e-3
