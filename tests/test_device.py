"""The notebooks on a CUDA device: played by the CPU everywhere, and on a real one where it is.

The played device holds CPU tensors that claim to be on ``cuda:0``; an operation that mixes the
two raises, as it would on a GPU.
"""

import contextlib

import numpy as np
import pytest
import torch
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
COPY = torch.ops.aten.copy_
pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # CSR is in beta


class OnCuda(torch.Tensor):
    """Holds a CPU tensor; Python is told cuda:0, C++ (autograd's engine) the CPU."""

    @staticmethod
    def __new__(cls, inner):
        with torch._C._DisableTorchDispatch():
            sparse = inner.layout != torch.strided
            base = torch.empty(inner.shape, device="meta") if sparse else inner
            new = torch.Tensor._make_subclass(cls, base, False)
        new.inner = inner
        return new

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    layout = property(lambda self: self.inner.layout)

    def __repr__(self, **_):
        return f"OnCuda({self.inner})"

    def cpu(self):
        return self.inner.detach().clone()

    def __deepcopy__(self, memo):
        return OnCuda(self.inner.clone())

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        flat, spec = tree.tree_flatten((args, kwargs or {}))
        known = {id(x.inner): x for x in flat if isinstance(x, OnCuda)}
        plain = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, OnCuda)]
        to_cuda = bool(known) or any(x == CUDA for x in flat if isinstance(x, torch.device))
        if func.overloadpacket is COPY:
            to_cuda = isinstance(args[0], OnCuda)
        elif known and any(x.dim() for x in plain):
            raise RuntimeError(f"{func} mixes cuda:0 and cpu")
        if to_cuda and any(isinstance(x, torch.Generator) for x in flat):
            raise RuntimeError(f"{func} draws on cuda:0 with a generator of the CPU")
        flat = [x.inner if isinstance(x, OnCuda) else x for x in flat]
        flat = [CPU if isinstance(x, torch.device) else x for x in flat]
        args, kwargs = tree.tree_unflatten(flat, spec)
        out = func(*args, **kwargs)

        def wrap(t):
            return known[id(t)] if id(t) in known else OnCuda(t)

        return tree.tree_map_only(torch.Tensor, wrap, out) if to_cuda else out


def sparse_method(name):
    """A method that C++ would refuse, as it sees the stand-in of a sparse tensor."""
    usual = getattr(torch.Tensor, name)

    def method(self, *args):
        if self.inner.layout == torch.strided:
            return usual(self, *args)
        return OnCuda(getattr(self.inner, name)(*args))

    return method


for name in ("coalesce", "indices", "values"):
    setattr(OnCuda, name, sparse_method(name))


class Played(TorchDispatchMode):
    __torch_dispatch__ = OnCuda.__torch_dispatch__.__func__


@pytest.fixture
def cuda(monkeypatch):
    """The played device; what torch.cuda would ask of a driver is answered here."""
    optimizer = torch.optim.Optimizer
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for kind in ("accelerator", "cuda"):  # the name differs between versions of torch
        check = f"_{kind}_graph_capture_health_check"
        monkeypatch.setattr(optimizer, check, lambda self: None, raising=False)
    with contextlib.ExitStack() as stack:
        for switch in (
            torch.__future__.set_overwrite_module_params_on_conversion,
            torch._C._set_only_lift_cpu_tensors,
        ):
            switch(True)
            stack.callback(switch, False)
        stack.enter_context(Played())
        yield CUDA


FAULTS = {
    "an index left on the CPU": lambda x: x[torch.tensor([0, 1])],
    "a device tensor made into an array": lambda x: np.asarray(x.numpy()),
    "a generator of the wrong device": lambda x: torch.rand(
        3, device=x.device, generator=torch.Generator()
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_played_device_refuses(cuda, fault):
    with pytest.raises((RuntimeError, TypeError), match="cuda:0"):
        fault(torch.ones(3).to(cuda))


def train_gnn(gnn, device, name, sparse):
    """Losses and logits of a short training on a ring of nodes."""
    nodes = torch.arange(24)
    pairs = torch.stack([nodes, nodes.roll(1)], dim=1)
    x, adj = torch.eye(24).to(device), gnn.normalize(gnn.adjacency(pairs, 24)).to(device)
    if sparse:
        x, adj = gnn.SparseMatrix.from_dense(x), gnn.SparseMatrix.from_dense(adj)
    y, train = (nodes // 8).to(device), nodes[::2].to(device)
    torch.manual_seed(0)
    model = gnn.build_model(name, 24, 3).to(device)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # devices draw different masks
    optimizer = gnn.make_optimizer(model, 0.01)
    steps = [gnn.train_step(model, optimizer, x, adj, y, train) for _ in range(5)]
    return torch.stack(steps), gnn.predict(model, x, adj)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", ["GCN", "ELU", "equal weights", "GAT"])
def test_gnn_trains_on_the_device_as_on_the_cpu(gnn, cuda, name, sparse):
    losses, logits = train_gnn(gnn, cuda, name, sparse)
    assert logits.device == cuda
    expected_losses, expected_logits = train_gnn(gnn, CPU, name, sparse)
    torch.testing.assert_close(losses.cpu(), expected_losses)
    torch.testing.assert_close(logits.cpu(), expected_logits)


def test_trainings_of_the_notebook_run_on_the_device(prepare, cuda):
    notebook = prepare(cuda)
    torch.manual_seed(0)
    model = notebook.GCN(1433, 16, 7, 0.5).to(cuda)
    assert len(notebook.train_and_log(model, epochs=2, lr=0.01)) == 2
    for name in ("GCN", "GAT"):
        (row,) = notebook.train_on_split(name, seed=0, lr=0.01, epochs=2)
        assert 0 < row["accuracy"] < 1
    run = notebook.train_on_public_split("equal terms", "GAT", 64, 0.6, 0.01, seed=0)
    assert run["best"].shape == (1000,)
    gat = notebook.build_public_model("equal terms", "GAT", 64, 0.6).to(cuda)
    gat.load_state_dict(run["weights"])
    inputs = notebook.sparse_x, notebook.graphs["GAT"]
    assert notebook.attention_entropy(gat.layer1, *inputs).shape == (2708, 8)


def test_unet_trains_on_the_device(unet, cuda):
    torch.manual_seed(0)
    model = unet.UNet(3, 2).to(cuda)
    masks = torch.zeros(2, 32, 32, dtype=torch.long).to(cuda)
    logits = model(torch.rand(2, 3, 32, 32).to(cuda))
    torch.nn.functional.cross_entropy(logits, masks).backward()
    assert logits.device == cuda
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["GCN", "GAT"])
def test_a_real_gpu_agrees_with_the_cpu(gnn, name):
    losses, logits = train_gnn(gnn, CUDA, name, sparse=True)
    expected_losses, expected_logits = train_gnn(gnn, CPU, name, sparse=True)
    torch.testing.assert_close(losses.cpu(), expected_losses, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(logits.cpu(), expected_logits, rtol=1e-3, atol=1e-3)
