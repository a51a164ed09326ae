"""The blocks of the U-Net, the network, its controls, and its training."""

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

SETTINGS = {"width": 4, "discs": {"epochs": 3, "batch_size": 2, "lr": 1e-2, "decay": 0.9}}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def networks(unet):
    return unet.MAIN | unet.CONTROLS


@pytest.fixture(scope="module")
def discs(unet):
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
        for i, name in zip((0, 4, 8), ("train", "val", "test"), strict=True)
    }
    return unet.SegmentationData("discs", ("other", "disc"), (-1,), splits)


# --- network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (31, 33), (47, 63), (97, 50)])
def test_output_has_the_size_of_the_input(networks, size):
    for network in networks.values():
        assert network(2, 5, 4).eval()(torch.randn(2, 2, *size)).shape == (2, 5, *size)


def test_down_halves_and_up_restores_the_size(unet):
    fine = torch.randn(2, 4, 13, 10)
    coarse = unet.Down(4, 8)(fine)
    assert coarse.shape == (2, 8, 6, 5)
    assert unet.Up(8, 4)(coarse, fine).shape == fine.shape


def output_change(model, level, pixel):
    """|change of the logits| when one pixel of one level reaches the decoder altered."""
    image = torch.randn(1, 1, 64, 64)
    before = model.eval()(image)

    def perturb(_, inputs):
        features = inputs[1].clone()
        features[..., pixel[0], pixel[1]] += 10
        return inputs[0], features

    model.up[3 - level].register_forward_pre_hook(perturb)
    return (model(image) - before).abs().sum(1)[0]


@pytest.mark.parametrize(("level", "reach"), [(0, 2), (1, 8), (2, 20)])
def test_skip_carries_a_change_of_one_level_to_its_place(unet, level, reach):
    row, column = 24 >> level, 40 >> level
    moved = output_change(unet.UNet(1, 2, width=4), level, (row, column)).nonzero()
    centre = torch.tensor([row, column]) << level
    assert len(moved) > 0
    assert (moved - centre).abs().max() <= reach + 2**level - 1


def test_each_variant_joins_the_levels_that_its_name_says(networks):
    joined = {"with skips": {0, 1, 2, 3}}
    for variant, network in networks.items():
        reach = {i for i in range(4) if output_change(network(1, 2, 4), i, (2, 3)).any()}
        assert reach == joined.get(variant, set()), variant


def expected_parameters(c_in, n_classes, w, skip):
    def double(i, o):  # weights of two 3x3 convolutions, scale and shift of two norms
        return 9 * i * o + 9 * o * o + 4 * o

    count = double(c_in, w) + w * n_classes + n_classes
    for f in (w, 2 * w, 4 * w, 8 * w):
        count += double(f, 2 * f) + 4 * 2 * f * f + f + double(f * (1 + skip), f)
    return count


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 21, 64)])
def test_parameter_count_follows_the_formula(unet, shape):
    for skip in (True, False):
        count = unet.count_parameters(unet.UNet(*shape, skip=skip))
        assert count == expected_parameters(*shape, skip)


def test_original_width_has_31_million_parameters(unet):
    """The paper's network has about 31.0 million; ours adds the norms and drops the biases."""
    assert unet.count_parameters(unet.UNet(1, 2)) == pytest.approx(31.0e6, rel=0.01)


def test_control_of_equal_size_has_as_many_convolution_weights_as_with_skips(networks):
    with_skips, equal = (
        sum(p.numel() for p in networks[name](3, 2, 16).parameters() if p.dim() == 4)
        for name in ("with skips", "equal size")
    )
    assert equal == with_skips


# --- training --------------------------------------------------------------------------------


def trained(unet, data, epochs, decay=0.9, width=4, seed=0, lr=1e-2):
    torch.manual_seed(seed)
    model = unet.UNet(data.splits["train"][0].shape[1], len(data.classes), width)
    return model, list(unet.train(model, data, epochs, 2, decay, lr, seed))


@pytest.fixture(scope="module")
def taught(unet, discs):
    """Epoch, loss and averaged network of forty epochs on the discs."""
    return trained(unet, discs, 40)[1]


def test_training_learns_the_discs(unet, discs, taught):
    epochs, losses, averages = zip(*taught, strict=True)
    assert epochs == tuple(range(1, 41))
    assert losses[-1] < 0.5 * losses[0]
    labels, masks = unet.predict(averages[-1], discs, "test"), discs.splits["test"][1]
    assert unet.mean_iou(unet.confusion_matrices(labels, masks, 2)) > 0.9


def test_average_holds_the_exponential_average_of_weights_and_running_statistics(unet, discs):
    model, averages = unet.UNet(3, 2, 4), []
    follow = {k: x.clone() for k, x in model.state_dict().items() if x.is_floating_point()}
    step = 0

    def after_step(*_):
        nonlocal step
        step += 1
        decay = min(0.6, step / (9 + step))
        for name, x in model.state_dict().items():
            if x.is_floating_point():
                follow[name] = decay * follow[name] + (1 - decay) * x

    handle = register_optimizer_step_post_hook(after_step)
    try:
        for _, _, average in unet.train(model, discs, 8, 2, 0.6, 1e-2, 0):
            averages.append(average)
    finally:
        handle.remove()
    state = averages[-1].state_dict()
    for name, x in follow.items():
        torch.testing.assert_close(state[name], x, rtol=1e-4, atol=1e-5)
    assert step == 16
    assert not torch.equal(state["last.weight"], model.last.weight)


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_data(unet, discs):
    with pytest.raises(FloatingPointError, match=r"discs: the loss of epoch \d is (nan|inf)"):
        trained(unet, discs, 3, lr=1e30)


def test_training_never_touches_other_images_and_keeps_weights_apart(unet, discs):
    data = unet.SegmentationData("discs", discs.classes, (), {"train": discs.splits["train"]})
    model, steps = trained(unet, data, 1)
    assert steps[0][2] is not model


def test_a_run_is_determined_by_its_seed_and_variants_see_the_same_batches(
    unet, discs, monkeypatch
):
    seen = []
    augment = unet.augment

    def spy(images, masks, draws, flips):
        seen.append((images.sum().item(), draws.sum().item()))
        torch.rand(7)  # whatever else draws from the global generator changes nothing
        return augment(images, masks, draws, flips)

    monkeypatch.setattr(unet, "augment", spy)
    first, again, other, seed = (
        unet.run(unet.MAIN[variant], discs, variant, seed, SETTINGS)
        for variant, seed in (
            ("with skips", 0),
            ("with skips", 0),
            ("without skips", 0),
            ("with skips", 1),
        )
    )
    assert seen[:6] == seen[6:12] == seen[12:18]
    assert seen[:6] != seen[18:]
    assert (first.losses, first.miou) == (again.losses, again.miou)
    assert first.losses != other.losses
    assert first.losses != seed.losses


def test_a_run_keeps_the_scores_of_marked_epochs_and_its_last_predictions(unet, discs):
    r = unet.run(unet.MAIN["with skips"], discs, "with skips", 0, SETTINGS)
    assert list(r.val) == list(r.miou) == list(r.test) == [1, 2, 3]
    masks = discs.splits["test"][1]
    assert (r.test[3] == unet.confusion_matrices(r.labels, masks, 2)).all()
    assert r.miou[3] == unet.mean_iou(r.test[3])
    assert (r.labels.dtype, r.labels.requires_grad) == (torch.uint8, False)


def test_every_network_is_trained_on_every_data_set_from_every_seed(unet, discs, capsys):
    runs = unet.train_networks(unet.MAIN, {"discs": discs}, 2, SETTINGS)
    assert [(r.variant, r.seed) for r in runs] == [
        ("with skips", 0),
        ("with skips", 1),
        ("without skips", 0),
        ("without skips", 1),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "4/4 discs, without skips, seed 1: test mIoU" in lines[3]
    assert "0.0 min left" in lines[3]


# --- prediction ------------------------------------------------------------------------------


def test_prediction_of_a_mirror_image_is_the_mirror_image_of_the_prediction(
    unet, discs, taught
):
    model = taught[-1][2]
    images, masks = discs.splits["test"]
    for flips in ((-1,), (-1, -2)):
        data = unet.SegmentationData("discs", discs.classes, flips, discs.splits)
        labels = unet.predict(model, data, "test")
        assert 0 < labels.float().mean() < 1
        for axes in (*((f,) for f in flips), flips):
            data.splits = data.splits | {"val": (images.flip(axes), masks)}
            same = unet.predict(model, data, "val").flip(axes) == labels
            assert same.float().mean() > 0.999  # sums in another order


def test_prediction_of_an_image_does_not_depend_on_the_others(unet, discs, taught):
    model = taught[-1][2].train()
    images, masks = discs.splits["test"]
    alone = unet.SegmentationData("discs", discs.classes, (-1,), discs.splits)
    alone.splits = discs.splits | {"val": (images[:1], masks[:1])}
    same = unet.predict(model, alone, "val") == unet.predict(model, discs, "test")[:1]
    assert same.float().mean() > 0.999


def test_autocast_keeps_the_predictions(unet, discs, taught, monkeypatch):
    average = taught[-1][2].to(memory_format=torch.channels_last)
    fast = unet.predict(average, discs, "test")
    plain = torch.autocast("cpu", enabled=False)
    monkeypatch.setattr(unet, "autocast", lambda device: plain)
    assert (unet.predict(average, discs, "test") == fast).float().mean() > 0.98


@pytest.mark.parametrize(
    ("kind", "capability", "dtype"),
    [("cuda", (7, 5), torch.float16), ("cuda", (8, 0), torch.bfloat16), ("cpu", None, None)],
)
def test_autocast_follows_the_device(unet, monkeypatch, kind, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda device, **options: asked.append(options))
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)  # as in a torch that lacks them
    unet.autocast(torch.device(kind))
    assert asked == [{"dtype": dtype} if dtype else {"dtype": torch.bfloat16, "enabled": False}]
