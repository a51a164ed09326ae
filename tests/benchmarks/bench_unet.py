"""Time one training step of the U-Net against the common form and against peers.

    python tests/benchmarks/bench_unet.py

A step is forward, cross-entropy, backward and AdamW on images of 96 x 96 pixels at width 16,
8 at a time, then 16. The candidates take turns, so that a busy machine slows all of them alike.
Printed are medians, and how often each is as fast as the same network in NCHW float32.
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
from definitions import ROOT, load_definitions

WIDTH, BATCHES, SIZE, ROUNDS = 16, (8, 16), 96, 15


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


def training_step(unet, model: nn.Module, how: str, batch: int) -> Callable[[], None]:
    """Return a function that makes one step of training on ``batch`` images.

    Args:
        unet: what a4-unet.ipynb defines.
        model: maps [n, 3, h, w] to logits [n, 2, h, w].
        how: "common" is NCHW and float32, "channels last" the other layout, and "notebook" that
            with 16-bit numbers where they are fast.
        batch: images in a step.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layout = torch.contiguous_format if how == "common" else torch.channels_last
    x = torch.randn(batch, 3, SIZE, SIZE).to(device).contiguous(memory_format=layout)
    y = torch.randint(0, 2, (batch, SIZE, SIZE)).to(device)
    model = model.to(device, memory_format=layout).train()
    optimiser = torch.optim.AdamW(model.parameters(), fused=how == "notebook")
    plain = torch.autocast(device.type, enabled=False)

    def step():
        with unet.autocast(device) if how == "notebook" else plain:
            logits = model(x)
        optimiser.zero_grad()
        cross_entropy(logits.float(), y).backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def compare(batch: int) -> None:
    """Print a table of medians and ratios for steps of ``batch`` images."""
    unet = load_definitions(ROOT / "a4-unet.ipynb")
    candidates = {  # network, and how it is trained
        "this U-Net, NCHW, float32": (unet.UNet(3, 2, WIDTH), "common"),
        "this U-Net, channels last, float32": (unet.UNet(3, 2, WIDTH), "channels last"),
        "this U-Net as in the notebook": (unet.UNet(3, 2, WIDTH), "notebook"),
        "plain U-Net of equal width, NCHW, float32": (PlainUNet(3, 2, WIDTH), "common"),
        "smp.Unet, ResNet-18 encoder, NCHW, float32": (
            smp.Unet("resnet18", encoder_weights=None, classes=2),
            "common",
        ),
    }
    steps = {name: training_step(unet, *c, batch) for name, c in candidates.items()}
    times = {name: [] for name in steps}
    for _ in range(ROUNDS + 3):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(t[3:]) for name, t in times.items()}  # three warm up
    reference = next(iter(medians.values()))
    print(f"{batch} images, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, median in medians.items():
        size = f"{unet.count_parameters(candidates[name][0]) / 1e6:5.2f} M parameters"
        print(f"{name:44} {size} {median:7.1f} ms {reference / median:5.2f}x")


if __name__ == "__main__":
    for size in BATCHES:
        compare(size)
