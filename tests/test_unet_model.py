"""The blocks of the U-Net, and the three networks that are compared."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

VARIANTS = pytest.mark.parametrize("variant", ["with skips", "without skips", "equal size"])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def networks(unet):
    return {
        "with skips": unet.with_skips,
        "without skips": unet.without_skips,
        "equal size": unet.EqualSizeUNet,
    }


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 16), (47, 50)])
@VARIANTS
def test_output_is_as_large_as_the_input(networks, variant, size):
    model = networks[variant](2, 5, 4).eval()
    assert model(torch.randn(2, 2, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@VARIANTS
def test_encoder_features_of_each_level_reach_the_output_only_by_skips(
    networks, variant, level
):
    model = networks[variant](1, 2, 4).eval()
    x = torch.randn(1, 1, 32, 32)
    before = model(x)
    up = model.up[3 - level]
    up.register_forward_pre_hook(lambda _, inputs: (inputs[0], inputs[1] + 1))
    assert torch.equal(model(x), before) == (variant != "with skips")


def forward_by_hand(weights, x, skip):
    """Logits of a U-Net in training mode, from its weights by name."""

    def convolve_twice(x, name):
        for i in (0, 3):
            x = F.conv2d(x, weights[f"{name}.{i}.weight"], padding=1)
            mean = x.mean(dim=(0, 2, 3), keepdim=True)
            var = x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
            scale = weights[f"{name}.{i + 1}.weight"].view(-1, 1, 1)
            shift = weights[f"{name}.{i + 1}.bias"].view(-1, 1, 1)
            x = torch.relu((x - mean) / (var + 1e-5).sqrt() * scale + shift)
        return x

    features = [convolve_twice(x, "first")]
    for i in range(4):
        pooled = F.max_pool2d(features[-1], 2)
        features.append(convolve_twice(pooled, f"down.{i}.conv"))
    x = features[4]
    for i in range(4):
        up = f"up.{i}.upsample"
        x = F.conv_transpose2d(x, weights[f"{up}.weight"], weights[f"{up}.bias"], stride=2)
        if skip:
            x = torch.cat([features[3 - i], x], dim=1)
        x = convolve_twice(x, f"up.{i}.conv")
    return F.conv2d(x, weights["last.weight"], weights["last.bias"])


@pytest.mark.parametrize("variant", ["with skips", "without skips"])
def test_forward_is_what_one_computes_by_hand(networks, variant):
    model = networks[variant](3, 2, 4).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    expected = forward_by_hand(model.state_dict(), x, variant == "with skips")
    torch.testing.assert_close(model(x), expected)


def test_equal_size_has_as_many_convolution_weights_as_with_skips(networks):
    counts = {}
    for variant, network in networks.items():
        layers = [m for m in network(3, 2, 8).modules() if hasattr(m, "kernel_size")]
        convolutions = [m for m in layers if not isinstance(m, nn.MaxPool2d)]
        counts[variant] = sum(m.weight.numel() for m in convolutions)
    assert counts["equal size"] == counts["with skips"] > counts["without skips"]
