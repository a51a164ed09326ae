"""Times a training step of a4-unet.ipynb against its plain form and against a peer.

Run ``python tests/benchmarks/bench_unet.py``. A step is forward, cross-entropy, backward and
AdamW, at width 16 on images of 96 x 96 pixels. All candidates use one thread and take turns in
one process, so that a busy machine slows them alike; ratios are medians over the rounds.
"""

import sys
import time
from pathlib import Path
from statistics import median

import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from definitions import load_definitions  # noqa: E402

torch.set_num_threads(1)
unet = load_definitions(ROOT / "a4-unet.ipynb")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def plain_step(model, batch):
    """A function that makes one training step, NCHW and float32."""
    x = torch.randn(batch, 3, 96, 96, device=device)
    y = torch.randint(2, (batch, 96, 96), device=device)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)

    def step():
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def notebook_step(model, batch):
    """A function that makes one training step as the notebook does."""
    x = torch.randn(batch, 3, 96, 96, device=device).contiguous(
        memory_format=torch.channels_last
    )
    y = torch.randint(2, (batch, 96, 96), device=device)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)

    def step():
        with unet.fast_autocast(device):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(step):
    """Time of one step."""
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(batch, rounds):
    """Time the candidates in turns; print medians and ratios to the notebook's step."""
    resnet = smp.Unet("resnet18", encoder_weights=None, classes=2)
    models = {
        "as in the notebook": unet.UNet(3, 2, width=16),
        "NCHW, float32": unet.UNet(3, 2, width=16),
        "smp, ResNet-18 U-Net": resnet,
    }
    steps = {}
    for name, model in models.items():
        make_step = notebook_step if name == "as in the notebook" else plain_step
        steps[name] = make_step(model, batch)
        for _ in range(3):
            steps[name]()
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step))
    print(f"{batch} images on {device.type}, one thread, {rounds} rounds")
    print(f"bfloat16: {unet.supports_bfloat16(device)}, torch {torch.__version__}")
    for name, values in times.items():
        ratio = median(a / b for a, b in zip(values, times["as in the notebook"], strict=True))
        millions = unet.count_parameters(models[name]) / 1e6
        print(
            f"  {name:21} {millions:5.2f} M parameters "
            f"{1e3 * median(values):7.1f} ms {ratio:6.2f} x the notebook"
        )


if __name__ == "__main__":
    for batch in (2, 8):
        compare(batch, rounds=15)
