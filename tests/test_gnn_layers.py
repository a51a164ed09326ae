"""The layers of a4-gnn.ipynb against their definitions, and against PyTorch Geometric."""

import math
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn.functional import leaky_relu, relu

with warnings.catch_warnings():  # its import warns about its own use of TorchScript
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GATConv, GCNConv

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # CSR is in beta

LAYOUTS = ["dense", "coo", "uncoalesced", "csr", "csr32"]


def as_layout(matrix, layout):
    """The same matrix stored in another way."""
    if layout == "dense":
        return matrix
    if layout == "coo":
        return matrix.to_sparse_coo()
    if layout == "uncoalesced":  # each entry as the sum of two stored in disorder
        index = matrix.nonzero().t().flip(1)
        value = matrix[tuple(index)]
        indices, values = torch.cat([index, index], 1), torch.cat([value * 0.25, value * 0.75])
        return torch.sparse_coo_tensor(indices, values, matrix.shape, check_invariants=True)
    csr = matrix.to_sparse_csr()
    if layout == "csr":
        return csr
    crow, col = csr.crow_indices().int(), csr.col_indices().int()
    return torch.sparse_csr_tensor(crow, col, csr.values(), csr.shape)


def random_graph(n=12, density=0.25, seed=0, dtype=torch.float64):
    """A directed weighted graph with some self-loops; nodes 3 and 7 have no edge at all."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(n, n, generator=generator, dtype=dtype) + 0.1
    adj = weight * (torch.rand(n, n, generator=generator) < density)
    adj[[3, 7]] = 0
    adj[:, [3, 7]] = 0
    return adj


def single(n, *edges):
    adj = torch.zeros(n, n, dtype=torch.float64)
    for i, j in edges:
        adj[i, j] = 0.5
    return adj


GRAPHS = {
    "random": random_graph(),
    "random 2": random_graph(n=30, density=0.1, seed=5),
    "one node": single(1),
    "one node with a self-loop": single(1, (0, 0)),
    "one directed edge": single(2, (0, 1)),
    "self-loops only": single(4, *((i, i) for i in range(4))),
    "no edge": single(5),
    "complete": torch.ones(6, 6, dtype=torch.float64),
}


@pytest.fixture(params=GRAPHS, ids=lambda name: name.replace(" ", "-"))
def graph(request):
    return GRAPHS[request.param].clone()


def features(n, f, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, f, generator=generator, dtype=dtype)
    return x * (torch.rand(n, f, generator=generator) < 0.6)


def attention_layer(gnn, *args, **kwargs):
    """A layer in float64 whose parameters are all random, the bias too."""
    torch.manual_seed(2)
    layer = gnn.GraphAttentionLayer(*args, **{"dropout": 0.0, **kwargs}).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def dense_gat(layer, h, adj):
    """The paper's equations 1 to 6, over all pairs of nodes."""
    s = (h @ layer.weight).view(len(h), layer.n_heads, layer.n_channels)
    left, right = layer.attention
    outputs = []
    for head in range(layer.n_heads):
        pairs = torch.cat(
            [
                s[:, None, head].expand(-1, len(h), -1),
                s[None, :, head].expand(len(h), -1, -1),
            ],
            dim=-1,
        )  # [N, N, 2 C]: s_i beside s_j
        scores = leaky_relu(pairs @ torch.cat([left[head], right[head]]), layer.alpha)
        scores = scores.masked_fill(adj == 0, -math.inf)
        coefficients = scores.softmax(dim=1).nan_to_num(0.0)  # a row without an edge is NaN
        outputs.append(coefficients @ s[:, head])
    joined = torch.cat(outputs, 1) if layer.is_concat else torch.stack(outputs).mean(0)
    return joined + layer.bias


# Graph convolution


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_convolution_is_a_x_w_plus_b(gnn, graph, layout, bias):
    x = features(len(graph), 7)
    layer = gnn.GraphConvolution(7, 5, bias=bias).double()
    if bias:
        torch.nn.init.normal_(layer.bias)
    expected = graph @ x @ layer.weight + (layer.bias if bias else 0)
    for x_layout in LAYOUTS:
        output = layer(as_layout(x, x_layout), as_layout(graph, layout))
        assert output.layout == torch.strided
        torch.testing.assert_close(output, expected)


def test_graph_convolution_gradient_of_a_directed_graph(gnn):
    adj, x = random_graph(), features(12, 7)
    target = torch.randn(12, 5, dtype=torch.float64)
    layer = gnn.GraphConvolution(7, 5).double()
    gradients = []
    for layout in LAYOUTS:
        layer.zero_grad()
        (layer(as_layout(x, layout), as_layout(adj, layout)) * target).sum().backward()
        gradients.append(layer.weight.grad.clone())
    for gradient in gradients:
        torch.testing.assert_close(gradient, x.T @ adj.T @ target)


def test_graph_convolution_equals_pyg(gnn):
    adj = (random_graph() > 0).double()
    adj = ((adj + adj.T) > 0).double().fill_diagonal_(0)
    x = features(12, 7)
    theirs = GCNConv(7, 5).double()
    ours = gnn.GraphConvolution(7, 5).double()
    ours.load_state_dict({"weight": theirs.lin.weight.T, "bias": theirs.bias + 1})
    norm = gnn.normalise_adjacency(sp.csr_matrix(adj.numpy()))
    output = ours(x, torch.from_numpy(norm.toarray())) - 1
    torch.testing.assert_close(output, theirs(x, adj.nonzero().t()), atol=1e-5, rtol=1e-5)


def test_gcn_is_the_handouts_formula(gnn):
    adj, x = random_graph(), features(12, 7)
    model = gnn.GCN(7, 4, 3, dropout=0.5).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    w0, b0, w1, b1 = model.parameters()
    expected = adj @ torch.relu(adj @ x @ w0 + b0) @ w1 + b1
    torch.testing.assert_close(model(x, adj), expected)


def test_gcn_drops_hidden_entries_and_rescales(gnn):
    torch.manual_seed(0)
    model = gnn.GCN(4, 2000, 1, dropout=0.25, bias=False)
    x, adj = torch.rand(3, 4), torch.eye(3)
    plain = relu(adj @ x @ model.layer1.weight)
    torch.nn.init.ones_(model.layer2.weight)
    ratio = (model.train()(x, adj) / plain.sum(1, keepdim=True)).flatten()
    assert (ratio - 1).abs().min() > 1e-4
    torch.testing.assert_close(ratio, torch.ones(3), atol=0.1, rtol=0)  # kept / (1 - p)
    torch.testing.assert_close(model.eval()(x, adj).flatten(), plain.sum(1))


# Graph attention


@pytest.mark.parametrize("is_concat", [True, False])
@pytest.mark.parametrize("n_heads", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_equals_the_dense_definition(gnn, graph, layout, n_heads, is_concat):
    x = features(len(graph), 7)
    layer = attention_layer(gnn, 7, 6, n_heads, is_concat)
    expected = dense_gat(layer, x, graph)
    for x_layout in ("dense", "csr"):
        output = layer(as_layout(x, x_layout), as_layout(graph, layout))
        torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("is_concat", [True, False])
def test_attention_equals_pyg_with_the_same_weights(gnn, graph, is_concat):
    x = features(len(graph), 7)
    ours = attention_layer(gnn, 7, 6, 3, is_concat)
    theirs = GATConv(7, ours.n_channels, 3, concat=is_concat, add_self_loops=False).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.weight.T)
        theirs.att_dst.copy_(ours.attention[0])
        theirs.att_src.copy_(ours.attention[1])
        theirs.bias.copy_(ours.bias)
    edges = graph.nonzero().t().flip(0)  # theirs is (source, target)
    torch.testing.assert_close(ours(x, graph), theirs(x, edges), atol=1e-5, rtol=1e-5)


def test_attention_rows_sum_to_one_over_their_own_edges(gnn):
    adj = random_graph()
    layer = attention_layer(gnn, 7, 6, 3)
    edges = gnn.head_edges(adj, 3)
    s = (features(12, 7) @ layer.weight).view(12, 3, 2)
    table = edges.csr(layer.coefficients(s, edges)).to_dense()
    for head in range(3):
        mine = table[head::3, head::3]
        assert torch.equal(mine > 0, adj > 0)
        torch.testing.assert_close(mine.sum(1), (adj > 0).any(1).double())
    assert table.count_nonzero() == 3 * (adj > 0).sum()  # no head sees another


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_attention_is_stable_for_scores_of_any_size(gnn, scale):
    adj, x = random_graph(dtype=torch.float32), features(12, 7, torch.float32)
    layer = attention_layer(gnn, 7, 6, 3).float()
    layer.attention.data *= scale
    output = layer(x, adj.to_sparse_csr())
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad.isfinite().all() for p in (layer.weight, layer.bias))


def test_very_negative_scores_still_sum_to_one(gnn):
    edges = gnn.head_edges(torch.ones(3, 3), 1)
    scores = torch.tensor([-1e30, -1e30, -1e30, -500.0, -500.0, -501.0, 0, 200, 400])
    rows = gnn.edge_softmax(scores, edges).view(3, 3)
    torch.testing.assert_close(rows, scores.view(3, 3).softmax(1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_node_without_edges_yields_zeros(gnn, layout):
    layer = gnn.GraphAttentionLayer(7, 6, 3, dropout=0.0).double()
    output = layer(features(12, 7), as_layout(random_graph(), layout))
    assert torch.equal(output[[3, 7]], torch.zeros(2, 6, dtype=torch.float64))
    assert output.isfinite().all()


def test_only_the_pattern_of_the_adjacency_matters_to_attention(gnn):
    adj, x = random_graph(), features(12, 7)
    layer = attention_layer(gnn, 7, 6, 3)
    csr = (5 * adj).to_sparse_csr()
    torch.testing.assert_close(layer(x, csr), layer(x, adj))
    stored = (adj + 1).to_sparse_csr()  # all entries stored, most of them zero
    stored.values().sub_(1)
    torch.testing.assert_close(layer(x, stored), layer(x, adj))


def test_a_dense_adjacency_may_change_in_place(gnn):
    adj, x = random_graph(), features(12, 7)
    layer = attention_layer(gnn, 7, 6, 3)
    layer(x, adj)
    adj[3] = 1
    torch.testing.assert_close(layer(x, adj), dense_gat(layer, x, adj))


def test_each_head_has_its_own_attention_vector(gnn):
    layer = attention_layer(gnn, 7, 6, 3)
    x, adj = features(12, 7), random_graph()
    before = layer(x, adj)
    layer.attention.data[:, 1] += 1
    changed = (layer(x, adj) - before).abs().sum(0).view(3, 2).sum(1) > 1e-9
    assert changed.tolist() == [False, True, False]


def test_concatenated_heads_share_the_output_width(gnn):
    assert gnn.GraphAttentionLayer(4, 8, 4).n_channels == 2
    assert gnn.GraphAttentionLayer(4, 8, 4, is_concat=False).n_channels == 8
    with pytest.raises(ValueError, match="multiple"):
        gnn.GraphAttentionLayer(4, 7, 2)


def test_dropout_of_coefficients_keeps_their_mean(gnn):
    torch.manual_seed(0)
    layer = gnn.GraphAttentionLayer(3, 2, 2, dropout=0.5)
    adj, x = torch.ones(400, 400), torch.ones(400, 3)
    dropped, plain = layer.train()(x, adj), layer.eval()(x, adj)
    assert dropped.std(0).min() > 0
    torch.testing.assert_close(dropped.mean(0), plain.mean(0), atol=0, rtol=0.02)


# Both


def build(gnn, name):
    torch.manual_seed(3)
    if name == "GCN":
        return gnn.GCN(7, 6, 4, dropout=0.5).double()
    return gnn.GAT(7, 6, 4, n_heads=3, dropout=0.6, alpha=0.2).double()


MODELS = pytest.mark.parametrize("name", ["GCN", "GAT"])


@MODELS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dense_and_sparse_inputs_agree(gnn, name, layout):
    model = build(gnn, name).eval()
    adj, x = random_graph(), features(12, 7)
    output = model(as_layout(x, layout), as_layout(adj, layout))
    torch.testing.assert_close(output, model(x, adj))


@MODELS
def test_gradients_by_finite_differences(gnn, name):
    model = build(gnn, name).eval()
    for parameter in model.parameters():  # a zero bias puts a node without edges on ReLU's kink
        torch.nn.init.normal_(parameter)
    adj, x = random_graph(n=8).to_sparse_csr(), features(8, 7).requires_grad_()
    names, values = zip(*model.named_parameters(), strict=True)

    def run(x, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(model, named, (x, adj))

    assert torch.autograd.gradcheck(run, (x, *values))


def test_sparse_product_gradients_by_finite_differences(gnn):
    pattern, values = gnn.sparse_parts(features(6, 9).to_sparse_csr())
    values = values.clone().requires_grad_()
    dense = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)

    def product(values, dense):
        return gnn.SparseProduct.apply(values, dense, pattern)

    assert torch.autograd.gradcheck(product, (values, dense))


@MODELS
def test_permuting_the_nodes_permutes_the_output(gnn, name):
    model = build(gnn, name).eval()
    adj, x = random_graph(), features(12, 7)
    order = torch.randperm(12)
    permuted = model(x[order], adj[order][:, order].to_sparse_csr())
    torch.testing.assert_close(permuted, model(x, adj)[order])


@MODELS
def test_evaluation_is_deterministic_and_training_is_not(gnn, name):
    model = build(gnn, name)
    adj, x = random_graph().to_sparse_csr(), features(12, 7).to_sparse_csr()
    assert torch.equal(model.eval()(x, adj), model(x, adj))
    assert not torch.equal(model.train()(x, adj), model(x, adj))


@MODELS
def test_same_seed_same_training(gnn, name):
    adj, x = random_graph().to_sparse_csr(), features(12, 7).to_sparse_csr()
    y = torch.arange(12) % 4
    losses = []
    for _ in range(2):
        model = build(gnn, name)
        steps = gnn.training_steps(model, x, adj, y, torch.arange(8), 0.01, 5e-4)
        losses.append([loss.item() for _, (_, loss) in zip(range(10), steps, strict=False)])
    assert losses[0] == losses[1]


@MODELS
def test_training_learns_a_separable_graph(gnn, name):
    torch.manual_seed(0)
    block = torch.ones(8, 8).double()
    adj = torch.block_diag(block, block)
    y = torch.arange(16) // 8
    x = torch.randn(16, 7).double() + y[:, None]
    adj = torch.from_numpy(adj.numpy() / 8)
    model = build(gnn, name)
    steps = gnn.training_steps(model, x, adj, y, torch.tensor([0, 8]), 0.05, 0.0)
    for _ in range(200):
        next(steps)
    assert gnn.evaluate(gnn.predict(model, x, adj), y, torch.arange(16))[1] == 1.0


def test_training_sees_only_the_labels_it_may(gnn):
    adj, x = random_graph().to_sparse_csr(), features(12, 7)
    logits = []
    for hidden in (0, 3):
        y = torch.full((12,), hidden)
        y[:4] = torch.arange(4)
        model = build(gnn, "GCN")
        steps = gnn.training_steps(model, x, adj, y, torch.arange(4), 0.01, 5e-4)
        for _ in range(5):
            next(steps)
        logits.append(gnn.predict(model, x, adj))
    assert torch.equal(*logits)


CONTROL = {"hidden": 6, "dropout": 0.6, "n_heads": 3, "alpha": 0.2}


def test_uniform_gat_averages_its_neighbours(gnn):
    model = gnn.build_model("UniformGAT", 7, 4, CONTROL).double()
    adj, x = random_graph(), features(12, 7)
    mean = (adj > 0).double() / (adj > 0).sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(model.layer1.eval()(x, adj), mean @ x @ model.layer1.weight)


@pytest.mark.parametrize(
    ("name", "held"),
    [("UniformGAT", "attention"), ("GCN_no_bias", "bias"), ("GAT_no_bias", "bias")],
)
def test_controls_hold_their_parameters_at_zero_in_training(gnn, name, held):
    model = gnn.build_model(name, 7, 4, CONTROL).double()
    y, train = torch.arange(12) % 4, torch.arange(8)
    steps = gnn.training_steps(model, features(12, 7), random_graph(), y, train, 0.01, 5e-4)
    for _ in range(3):
        next(steps)
    for key, parameter in model.named_parameters():
        assert (parameter == 0).all() == (held in key), key


def test_entropy_of_uniform_attention_is_one(gnn):
    adj = random_graph(n=30, density=0.2)
    edges = gnn.head_edges(adj, 2)
    uniform = gnn.edge_softmax(torch.zeros(len(edges.row), dtype=torch.float64), edges)
    entropy = gnn.attention_entropy(uniform, edges)
    assert len(entropy) == 2 * ((adj > 0).sum(1) >= 2).sum()
    np.testing.assert_allclose(entropy, 1)
    peaked = gnn.edge_softmax(1e3 * edges.col.double(), edges)
    assert gnn.attention_entropy(peaked, edges).max() < 0.01


@pytest.mark.parametrize("sparse", [True, False])
def test_dropout_keeps_the_mean_and_the_zeros(gnn, sparse):
    torch.manual_seed(0)
    x = torch.ones(300, 300).tril()
    dropped = gnn.dropout(x.to_sparse_csr() if sparse else x, 0.6, training=True)
    dropped = dropped.to_dense() if sparse else dropped
    assert set(dropped.unique().tolist()) == {0.0, 2.5}
    assert dropped.triu(1).count_nonzero() == 0
    assert dropped.sum() / x.sum() == pytest.approx(1, abs=0.02)
    assert gnn.dropout(x, 0.6, training=False) is x
    assert gnn.dropout(x, 1.0, training=True).count_nonzero() == 0


def test_attention_makes_no_table_of_all_pairs(gnn):
    n = 100_000  # a table of all pairs would take 40 GB
    row = torch.arange(n)
    index = torch.cat([torch.stack([row, row]), torch.stack([row, row.roll(1)])], dim=1)
    adj = torch.sparse_coo_tensor(index, torch.ones(2 * n), (n, n), check_invariants=True)
    layer = gnn.GraphAttentionLayer(3, 4, 2)
    assert layer(torch.rand(n, 3), adj.to_sparse_csr()).shape == (n, 4)
