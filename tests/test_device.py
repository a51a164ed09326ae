"""The notebooks on a CUDA device: played by the CPU everywhere, and on a real one where it is.

The played device holds CPU tensors that claim to be on ``cuda:0``; an operation that mixes the
two raises, as it would on a GPU.
"""

import contextlib
from unittest import mock

import numpy as np
import pytest
import torch
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
COPY = torch.ops.aten.copy_
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


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


for name in ("coalesce", "indices", "values", "crow_indices", "col_indices", "t"):
    setattr(OnCuda, name, sparse_method(name))
for name in ("to_sparse_coo", "to_sparse_csr"):
    setattr(OnCuda, name, lambda self, name=name: OnCuda(getattr(self.inner, name)()))


class Played(TorchDispatchMode):
    __torch_dispatch__ = OnCuda.__torch_dispatch__.__func__


@pytest.fixture(params=[(7, 5), (8, 0)], ids=["float16", "bfloat16"])
def cuda(request):
    """The played device, with the compute capability of a T4 or an A100."""
    autocast, optimiser = torch.autocast, torch.optim.Optimizer
    patches = [
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "get_device_capability", lambda device=None: request.param),
        (torch.cuda, "manual_seed_all", lambda seed: None),
        (torch, "autocast", lambda device, **options: autocast("cpu", **options)),
    ]
    for kind in ("accelerator", "cuda"):  # the name differs between versions of torch
        check = f"_{kind}_graph_capture_health_check"
        if hasattr(optimiser, check):
            patches.append((optimiser, check, lambda self: None))
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(mock.patch.object(*patch))
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
    "a mask made without its device": lambda x: x.where(torch.ones(3) > 0, 0),
    "a generator of the wrong device": lambda x: torch.rand(
        3, device=x.device, generator=torch.Generator()
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_played_device_refuses(cuda, fault):
    with pytest.raises((RuntimeError, TypeError), match="cuda:0"):
        fault(torch.ones(3).to(cuda))


# --- U-Net


def blobs(unet, device, channels=3):
    """A small data set: bright squares on dark ground, some of it unlabelled."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(6, 32, 32, dtype=torch.uint8)
    masks[:, 8:20, 10:26] = 1
    noise = torch.randint(0, 90, (6, channels, 32, 32), generator=generator)
    images = (noise + 150 * masks[:, None]).to(torch.uint8)
    masks[:, :3] = unet.IGNORE
    splits = dict.fromkeys(("train", "val", "test"), (images.to(device), masks.to(device)))
    return unet.SegmentationData("flowers", ("other", "flower"), (-1,), splits)


def train_unet(unet, device, variant="with skips", epochs=3):
    """A run of the notebook's own kind, on ``blobs``."""
    network = (unet.MAIN | unet.CONTROLS)[variant]
    options = {"epochs": epochs, "batch_size": 2, "lr": 1e-2, "decay": 0.9}
    settings = {"width": 4, "flowers": options}
    return unet.run(network, blobs(unet, device), variant, 0, settings)


@pytest.mark.parametrize("variant", ["with skips", "without skips", "equal size"])
def test_unet_trains_and_is_scored_on_the_device(unet, cuda, variant):
    data, run = blobs(unet, cuda), train_unet(unet, cuda, variant)
    assert run.labels.device == CPU
    masks = data.splits["test"][1].cpu().numpy()
    distance = unet.contour_distance(masks)
    assert unet.final_scores(run, data, distance)["miou"] == run.miou[3]


def test_unet_draws_what_was_computed_on_the_device(unet, cuda):
    runs = [train_unet(unet, cuda, variant, 1) for variant in unet.MAIN]
    with mock.patch.object(unet.plt, "show"):
        unet.draw_segmentations(runs, blobs(unet, cuda))
    unet.plt.close("all")


def test_unet_starts_and_draws_alike_on_every_device(unet, cuda):
    """The same seed gives the same weights and batches, and almost the same first loss."""
    there = train_unet(unet, cuda, epochs=1).losses[0]
    with mock.patch.object(torch.cuda, "is_available", return_value=False):
        here = train_unet(unet, CPU, epochs=1).losses[0]
    assert there == pytest.approx(here, rel=0.05)  # the rest is half precision


# --- graph networks


def ring(gnn, device, n_nodes=24):
    """Features, adjacency, labels and training nodes of a ring of nodes, dense and fast."""
    pairs = torch.stack([torch.arange(n_nodes), torch.arange(n_nodes).roll(1)], dim=1)
    adj = gnn.normalise(gnn.adjacency(pairs, n_nodes), n_nodes).to_dense().to(device)
    x, y = torch.eye(n_nodes).to(device), (torch.arange(n_nodes) * 3 // n_nodes).to(device)
    inputs = {"dense": (x, adj), "fast": (gnn.SparseMatrix(x), gnn.SparseMatrix(adj))}
    return inputs, y, torch.arange(0, n_nodes, 2).to(device)


def train_gnn(gnn, device, name, kind, epochs=5):
    """Losses and last logits of a short training."""
    inputs, y, train = ring(gnn, device)
    torch.manual_seed(0)
    model = gnn.build_model(name, 24, 3, 16, 0.0).to(device)
    optimiser = gnn.adam(model, 0.01, 5e-4)
    steps = [gnn.train_step(model, optimiser, *inputs[kind], y, train) for _ in range(epochs)]
    return torch.stack(steps), gnn.predict(model, *inputs[kind])


@pytest.mark.parametrize("kind", ["dense", "fast"])
@pytest.mark.parametrize("name", ["GCN", "ELU", "equal_weights", "GAT"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_gnn_trains_on_the_device_as_on_the_cpu(gnn, cuda, name, kind):
    losses, logits = train_gnn(gnn, cuda, name, kind)
    assert logits.device == cuda
    expected = train_gnn(gnn, CPU, name, kind)
    torch.testing.assert_close(losses.cpu(), expected[0])
    torch.testing.assert_close(logits.cpu(), expected[1])


@pytest.mark.filterwarnings("ignore:Sparse")
def test_gnn_chooses_its_epoch_and_looks_at_attention_on_the_device(gnn, cuda):
    inputs, y, train = ring(gnn, cuda)
    torch.manual_seed(0)
    model = gnn.build_model("GAT", 24, 3, 16, 0.5).to(cuda)
    epoch, weights = gnn.train_until_best(
        model, *inputs["fast"], y, train, train, lr=0.01, patience=10
    )
    assert epoch > 0
    assert {value.device for value in weights.values()} == {cuda}
    count, entropy = gnn.attention_entropy(model.layer1, *inputs["fast"])
    assert count.tolist() == [3] * 24
    assert ((entropy >= 0) & (entropy <= 1.001)).all()


# --- a real GPU


@on_gpu
@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", ["GCN", "GAT"])
def test_gnn_on_a_gpu_agrees_with_the_cpu(gnn, name):
    """Sums in another order: five steps of float32 training agree to 1e-3."""
    losses, logits = train_gnn(gnn, CUDA, name, "fast")
    expected = train_gnn(gnn, CPU, name, "fast")
    torch.testing.assert_close(losses.cpu(), expected[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(logits.cpu(), expected[1], rtol=1e-3, atol=1e-3)


@on_gpu
def test_unet_on_a_gpu_agrees_with_the_cpu_within_half_precision(unet):
    """Losses of three epochs in 16 bits agree to 10 %, in less than 4 GB."""
    torch.cuda.reset_peak_memory_stats()
    there, here = train_unet(unet, CUDA), train_unet(unet, CPU)
    assert there.losses == pytest.approx(here.losses, rel=0.1)
    assert torch.cuda.max_memory_allocated() < 4e9
