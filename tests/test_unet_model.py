"""The blocks of the U-Net, the network, and its training."""

import copy
import platform
import resource

import pytest
import torch
from torchvision.transforms import v2

ARGS = {"width": 4, "epochs": {"blobs": 2}, "batch_size": {"blobs": 2}, "lr": {"blobs": 1e-2}}
VARIANTS = [{"skip": True}, {"skip": False}, {"skip": False, "widen": 1.5}]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def blobs(unet):
    """Discs on noise: bright class 1 on dark class 0, an unlabelled corner, 32 x 48 pixels."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32), torch.arange(48), indexing="ij")
    centres = torch.rand(12, 2, generator=generator) * torch.tensor([32, 48])
    masks = ((y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2 < 64).byte()
    noise = torch.randint(0, 100, (12, 3, 32, 48), generator=generator)
    images = (masks[:, None] * 120 + noise).byte()
    masks[:, :4, :4] = unet.IGNORE
    splits = {
        name: (images[i : i + 4], masks[i : i + 4])
        for i, name in zip((0, 4, 8), unet.SPLITS, strict=True)
    }
    return unet.SegmentationData("blobs", ("other", "disc"), splits, v2.Identity())


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize(
    "size", [(16, 16), (17, 16), (31, 33), (32, 80), (47, 63), (96, 96), (97, 50)]
)
def test_output_has_the_size_of_the_input(unet, options, size):
    model = unet.UNet(2, 5, width=4, **options).eval()
    assert model(torch.randn(2, 2, *size)).shape == (2, 5, *size)


def test_too_small_an_image_is_refused_with_its_size(unet):
    with pytest.raises(ValueError, match=r"16 x 16.*\[1, 3, 64, 15\]"):
        unet.UNet(3, 2, width=4)(torch.zeros(1, 3, 64, 15))


def test_down_halves_and_up_restores_the_size(unet):
    fine = torch.randn(2, 4, 13, 10)
    coarse = unet.Down(4, 8)(fine)
    assert coarse.shape == (2, 8, 6, 5)
    assert unet.Up(8, 4)(coarse, fine).shape == fine.shape


def output_change(unet, skip, level, pixel):
    """|change of the logits| when one pixel of one level reaches the decoder altered."""
    model = unet.UNet(1, 2, width=4, skip=skip).eval()
    image = torch.randn(1, 1, 64, 64)
    before = model(image)

    def perturb(_, inputs):
        features = inputs[1].clone()
        features[..., pixel[0], pixel[1]] += 10
        return inputs[0], features

    model.up[3 - level].register_forward_pre_hook(perturb)
    return (model(image) - before).abs().sum(1)[0]


@pytest.mark.parametrize(("level", "reach"), [(0, 2), (1, 8), (2, 20)])
def test_skip_carries_a_change_of_one_level_to_its_place(unet, level, reach):
    row, column = 24 >> level, 40 >> level
    moved = output_change(unet, True, level, (row, column)).nonzero()
    centre = torch.tensor([row, column]) << level
    assert len(moved) > 0
    assert (moved - centre).abs().max() <= reach + 2**level - 1


@pytest.mark.parametrize("level", range(4))
def test_without_skip_the_decoder_sees_nothing_of_the_encoder_levels(unet, level):
    assert output_change(unet, False, level, (2, 3)).max() == 0


@pytest.mark.parametrize("skip", [True, False])
def test_gradient_flows_through_the_skip_only_when_it_is_on(unet, skip):
    up = unet.Up(8, 4, skip=skip)
    coarse = torch.randn(2, 8, 5, 5, requires_grad=True)
    features = torch.randn(2, 4, 10, 11, requires_grad=True)
    up(coarse, features).square().sum().backward()
    assert coarse.grad.abs().max() > 0
    assert (features.grad is not None and features.grad.abs().max() > 0) == skip


def expected_parameters(c_in, n_classes, w, skip, widen=1.0):
    def double(i, m, o):  # weights of two 3x3 convolutions, scale and shift of two norms
        return 9 * i * m + 9 * m * o + 2 * m + 2 * o

    count = double(c_in, w, w) + w * n_classes + n_classes
    for f in (w, 2 * w, 4 * w, 8 * w):
        count += double(f, 2 * f, 2 * f)
        count += 4 * 2 * f * f + f + double(f * (1 + skip), round(widen * f), f)
    return count


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 2, 16), (3, 21, 64)])
def test_parameter_count_follows_the_formula(unet, options, shape):
    model = unet.UNet(*shape, **options)
    assert unet.count_parameters(model) == expected_parameters(*shape, **options)


def test_original_width_has_31_million_parameters(unet):
    """The paper's network has about 31.0 million; ours adds the norms and drops the biases."""
    assert unet.count_parameters(unet.UNet(1, 2)) == pytest.approx(31.0e6, rel=0.01)


def test_control_without_skips_has_as_many_weights_as_the_network_with_skips(unet):
    with_skips, control = (
        sum(p.numel() for p in unet.UNet(3, 2, 16, **options).parameters() if p.dim() == 4)
        for options in (VARIANTS[0], VARIANTS[2])
    )
    assert control == with_skips


def test_one_batch_can_be_overfitted(unet, blobs):
    images, masks = blobs.splits["train"]
    model = unet.UNet(3, 2, width=8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        loss = unet.loss_function(model(blobs.normalise(images)), masks, blobs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    labels = model(blobs.normalise(images)).argmax(1)
    iou = unet.iou_per_class(unet.confusion_matrix(labels, masks, 2))
    assert iou.min() > 0.99


def test_loss_ignores_unlabelled_pixels(unet, blobs):
    _, masks = blobs.splits["train"]
    logits = torch.randn(4, 2, 32, 48)
    changed = logits.clone()
    changed[..., :4, :4] += torch.randn(4, 2, 4, 4)
    loss = unet.loss_function(logits, masks, blobs)
    assert torch.equal(unet.loss_function(changed, masks, blobs), loss)
    changed[..., 10, 10] += torch.tensor([5.0, 0.0])
    assert not torch.equal(unet.loss_function(changed, masks, blobs), loss)


def test_autocast_and_channels_last_keep_the_predictions(unet, blobs):
    model = unet.UNet(3, 2, width=8)
    unet.train(model, blobs, epochs=3, batch_size=2, lr=1e-2)
    fast = unet.predict(model.to(memory_format=torch.channels_last), blobs, "test")
    with torch.inference_mode():
        images = blobs.normalise(blobs.splits["test"][0]).contiguous()
        plain = model.to(memory_format=torch.contiguous_format)(images)
    assert fast.dtype == torch.float32
    torch.testing.assert_close(fast, plain, rtol=0.05, atol=0.1)
    assert (fast.argmax(1) == plain.argmax(1)).float().mean() > 0.98


def test_training_lowers_the_loss_and_reports_every_epoch(unet, blobs):
    epochs = []
    model = unet.UNet(3, 2, width=4)
    history = unet.train(model, blobs, 16, batch_size=2, lr=1e-2, on_epoch=epochs.append)
    assert epochs == list(range(1, 17))
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    assert history[-1]["val_miou"] > 0.8


def test_a_run_is_determined_by_its_seed_and_variants_see_the_same_batches(
    unet, blobs, monkeypatch
):
    seen = []
    augment = unet.augment

    def spy(images, masks, transform):
        seen.append(images.sum().item())
        return augment(images, masks, transform)

    monkeypatch.setattr(unet, "augment", spy)
    runs = []
    for variant, seed in (("with skips", 0), ("with skips", 0), ("without skips", 0)):
        runs.append(unet.run(blobs, variant, seed, ARGS, lambda epoch: None))
    assert seen[:4] == seen[4:8] == seen[8:]
    assert runs[0].scores == runs[1].scores
    assert runs[0].history == runs[1].history
    assert runs[0].history != runs[2].history
    unet.run(blobs, "with skips", 1, ARGS, lambda epoch: None)
    assert seen[12:] != seen[:4]


def test_a_run_continues_where_another_ended_and_leaves_that_one_alone(unet, blobs):
    first = unet.run(blobs, "with skips", 0, ARGS, lambda epoch: None)
    ended = {name: x.clone() for name, x in first.model.state_dict().items()}
    by_hand = copy.deepcopy(first.model)
    torch.manual_seed(1003)
    history = unet.train(by_hand, blobs, epochs=2, batch_size=2, lr=1e-2)

    second = unet.run(blobs, "with skips", 3, ARGS, lambda epoch: None, first)
    assert second.history == history
    assert second.model is not first.model
    for name, x in first.model.state_dict().items():
        assert torch.equal(x, ended[name]), name


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")
def test_freed_memory_is_used_again(unet):
    assert unet.keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(2**20) for _ in range(8)]  # 1,024 pages each
        del tensors
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()  # the first rounds may fetch their pages
    assert sum(faults() for _ in range(10)) < 8 * 1024  # were none kept: ten times as many


def test_training_never_touches_the_test_images(unet, blobs):
    model = unet.UNet(3, 2, width=4)
    splits = {name: blobs.splits[name] for name in ("train", "val")}
    data = unet.SegmentationData("blobs", blobs.classes, splits, blobs.augment)
    assert len(unet.train(model, data, epochs=1, batch_size=4, lr=1e-3)) == 1


def test_fast_dtype_falls_back_to_float32_where_torch_cannot_tell(unet, monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert unet.fast_dtype(torch.device("cpu")) == torch.float32
    with unet.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_fast_dtype_on_a_gpu_follows_its_generation(unet, monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert unet.fast_dtype(torch.device("cuda")) == dtype


def test_prediction_of_an_image_does_not_depend_on_the_others(unet, blobs):
    images, masks = blobs.splits["test"]
    model = unet.UNet(3, 2, width=4).train()
    splits = blobs.splits | {"val": (images[:1], masks[:1])}
    alone = unet.SegmentationData("blobs", blobs.classes, splits, blobs.augment)
    together = unet.predict(model, blobs, "test")[:1]
    torch.testing.assert_close(
        together, unet.predict(model, alone, "val"), rtol=0.02, atol=0.02
    )
