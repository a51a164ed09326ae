"""Time one training step of the U-Net against the common form and against peers.

    python tests/benchmarks/bench_unet.py

A step is forward, cross-entropy, backward and AdamW on images of 96 x 96 pixels at width 16,
the CPU preset of a4-unet.ipynb: 8 images at a time as there, then 16. The candidates take
turns, so that a busy machine slows all of them alike; printed are medians, and how often each
is as fast as the notebook's own network in NCHW float32.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import ROOT, load_definitions

WIDTH, BATCHES, SIZE, ROUNDS = 16, (8, 16), 96, 11


class PlainUNet(nn.Module):
    """The U-Net as it is usually written down: bilinear upsampling, biases, nothing else."""

    def __init__(self, in_channels: int, n_classes: int, width: int):
        super().__init__()
        channels = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            self.block(i, o) for i, o in zip([in_channels, *channels], channels, strict=False)
        )
        self.decoder = nn.ModuleList(
            self.block(3 * c, c) for c in reversed(channels[:-1])
        )  # 2c channels from below and c from the encoder
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        self.last = nn.Conv2d(width, n_classes, 1)

    @staticmethod
    def block(i: int, o: int) -> nn.Sequential:
        layers = []
        for a, b in ((i, o), (o, o)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        features = []
        for block in self.encoder:
            features.append(block(self.pool(features[-1]) if features else x))
        x = features.pop()
        for block in self.decoder:
            x = block(torch.cat([features.pop(), self.upsample(x)], 1))
        return self.last(x)


def training_step(
    batch: int, model: nn.Module, layout: torch.memory_format, context
) -> Callable[[], None]:
    """Return a function that makes one step of training on ``batch`` images."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, SIZE, SIZE, generator=generator).to(device)
    x = x.contiguous(memory_format=layout)
    y = torch.randint(0, 2, (batch, SIZE, SIZE), generator=generator).to(device)
    model = model.to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=layout == torch.channels_last)

    def step():
        with context():
            logits = model(x)
        optimizer.zero_grad()
        cross_entropy(logits.float(), y).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def compare(batch: int) -> None:
    """Print a table of medians and ratios for steps of ``batch`` images."""
    unet = load_definitions(ROOT / "a4-unet.ipynb")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fast = unet.fast_dtype(device)
    nchw, last = torch.contiguous_format, torch.channels_last

    def ours():
        return unet.UNet(3, 2, WIDTH)

    def float32():
        return torch.autocast(device.type, enabled=False)

    def peer():
        return smp.Unet("resnet18", encoder_weights=None, classes=2)

    reference = "this U-Net, NCHW, float32"
    candidates = {
        reference: (ours(), nchw, float32),
        "this U-Net, channels last, float32": (ours(), last, float32),
        f"this U-Net, channels last, {str(fast).removeprefix('torch.')}": (
            ours(),
            last,
            lambda: unet.autocast(device),
        ),
        "plain U-Net of equal width, NCHW, float32": (PlainUNet(3, 2, WIDTH), nchw, float32),
        "smp.Unet, ResNet-18 encoder, NCHW, float32": (peer(), nchw, float32),
    }
    steps = {k: training_step(batch, m.to(device), *how) for k, (m, *how) in candidates.items()}
    times = {name: [] for name in steps}
    for _ in range(ROUNDS + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(t[2:]) for name, t in times.items()}  # two warm up
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{batch} images, {device.type}, {threads}")
    for name, median in medians.items():
        size = unet.count_parameters(candidates[name][0]) / 1e6
        ratio = medians[reference] / median
        print(f"{name:46} {size:5.2f} M parameters {median:7.1f} ms {ratio:5.2f}x")


if __name__ == "__main__":
    for size in BATCHES:
        compare(size)
