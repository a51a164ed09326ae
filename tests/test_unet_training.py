"""The training of the U-Nets, and its settings."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import plateau
import pytest
import torch
from definitions import ROOT
from torch.optim.optimizer import register_optimizer_step_post_hook


@pytest.fixture(scope="module")
def discs(unet):
    """Bright discs on a dark ground, with an unlabeled corner, 32 x 32 pixels."""
    generator = torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    centers = torch.rand(12, 2, generator=generator) * 32
    masks = ((y - centers[:, :1, None]) ** 2 + (x - centers[:, 1:, None]) ** 2 < 80).byte()
    noise = torch.randint(100, (12, 3, 32, 32), generator=generator)
    images = (120 * masks[:, None] + noise).byte()
    masks[:, :4, :4] = unet.IGNORE
    splits = {}
    for part, first, end in (("train", 0, 5), ("val", 5, 8), ("test", 8, 12)):
        splits[part] = images[first:end], masks[first:end]
    augment = unet.v2.RandomHorizontalFlip()
    return unet.SegmentationData(["ground", "disc"], splits, augment, mirrors=[(-1,)])


def arguments(unet, discs, **changes):
    default = {"build": unet.with_skips, "data": discs, "width": 4, "seed": 0}
    return {**default, "epochs": 3, "batch_size": 2, "lr": 0.01, **changes}


@pytest.fixture(scope="module")
def trained(unet, discs):
    """The averaged network after fifteen epochs, and the loss of each."""
    torch.manual_seed(0)
    epochs = list(unet.train(unet.UNet(3, 2, 4), discs, epochs=15, batch_size=2, lr=0.01))
    return epochs[-1][2], [loss for _, loss, _ in epochs]


def test_loss_falls(trained):
    _, losses = trained
    assert len(losses) == 15
    assert losses[-1] < losses[0] / 2


def test_loss_is_the_weighted_cross_entropy_of_the_labeled_pixels(unet, discs, monkeypatch):
    monkeypatch.setattr(unet, "supports_bfloat16", lambda device: False)

    def keep(image, mask):
        return image, mask

    images, masks = discs.splits["train"]
    data = unet.SegmentationData(discs.class_names, discs.splits, keep, mirrors=[])
    model = unet.UNet(3, 2, 4)
    _, loss, _ = next(unet.train(model, data, epochs=1, batch_size=5, lr=0.0))
    logp = model.train()(data.normalize(images)).log_softmax(dim=1)
    weight = [data.class_weights[label] * (masks == label) for label in (0, 1)]
    expected = -(weight[0] * logp[:, 0] + weight[1] * logp[:, 1]).sum() / sum(weight).sum()
    assert loss == pytest.approx(expected.item(), rel=1e-4)


def test_loss_that_is_not_finite_stops_and_says_what_to_try(unet, discs):
    with pytest.raises(FloatingPointError, match=r"learning rate below 1e\+30"):
        list(unet.train(unet.UNet(3, 2, 4), discs, epochs=4, batch_size=2, lr=1e30))


def test_averaged_weights_are_the_moving_average_of_the_steps(unet, discs):
    model = unet.UNet(3, 2, 4)
    steps = []

    def record(*_):
        state = model.state_dict().items()
        steps.append({k: v.double() for k, v in state if "num_batches" not in k})

    hook = register_optimizer_step_post_hook(record)
    *_, (_, _, averaged) = unet.train(model, discs, epochs=5, batch_size=2, lr=0.01)
    hook.remove()
    expected = steps[0]
    for n, step in enumerate(steps[1:], 1):
        decay = min(0.995, (1 + n) / (10 + n))
        expected = {k: decay * expected[k] + (1 - decay) * step[k] for k in step}
    assert len(steps) == 15
    found = {k: v.double() for k, v in averaged.module.state_dict().items() if k in expected}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


# --- one training from one seed


def test_both_networks_see_the_same_batches(unet, discs, monkeypatch):
    seen = []
    augment = unet.augment_batch

    def record(*batch):
        seen.append(augment(*batch))
        return seen[-1]

    monkeypatch.setattr(unet, "augment_batch", record)
    for build in (unet.with_skips, unet.without_skips):
        unet.train_and_score(**arguments(unet, discs, build=build))
    assert len(seen) == 2 * 9
    for (x, _), (same, _) in zip(seen[:9], seen[9:], strict=True):
        assert torch.equal(x, same)


def test_scores_are_taken_at_the_marked_epochs(unet, discs):
    scores = unet.train_and_score(**arguments(unet, discs, epochs=6))["scores"]
    assert [row["epoch"] for row in scores] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in scores if "test_miou" in row] == [1, 2, 3, 5]


def test_one_worker_gives_the_same_results_as_two(unet, discs):
    builders = (unet.with_skips, unet.without_skips)
    settings = [arguments(unet, discs, build=build) for build in builders]
    one = unet.run_parallel(unet.train_and_score, settings, n_jobs=1)
    two = unet.run_parallel(unet.train_and_score, settings, n_jobs=2)
    for a, b in zip(one, two, strict=True):
        assert a["scores"] == b["scores"]
        assert torch.equal(a["predicted"], b["predicted"])


# --- prediction


def test_prediction_of_a_mirror_image_is_the_mirror_image_of_the_prediction(
    unet, discs, trained
):
    images, _ = discs.splits["test"]
    mirrors = [(-1,), (-2,), (-2, -1)]
    labels = unet.predict(trained[0], discs, images, mirrors)
    for axes in mirrors:
        mirrored = unet.predict(trained[0], discs, images.flip(axes), mirrors)
        assert (mirrored.flip(axes) == labels).float().mean() > 0.98


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True)])
def test_gpus_before_ampere_compute_in_float32(unet, monkeypatch, capability, fast):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert unet.supports_bfloat16(torch.device("cuda")) == fast


# --- settings


def run_cell(unet, text, **variables):
    """Execute the one cell that contains a text; return its variables."""
    cells = nbformat.read(ROOT / "a4-unet.ipynb", as_version=4).cells
    (source,) = [c.source for c in cells if c.cell_type == "code" and text in c.source]
    variables = {**vars(unet), **variables}
    with plt.rc_context(), pd.option_context("display.float_format", None):
        exec(source, variables)
    return variables


def run_settings(unet, n_train):
    """Execute the cell of the settings as if there were so many flowers for training."""
    data = SimpleNamespace(splits={"train": (torch.zeros(n_train), None)})
    variables = {"QUICK": False, "datasets": {"flowers": data}, "show": lambda *_: None}
    return run_cell(unet, "batch_sizes = {", sizes=pd.DataFrame(), **variables)


def test_batch_larger_than_the_training_set_is_refused_by_name(unet):
    with pytest.raises(ValueError, match=r"batch_sizes\['flowers'\].* 7"):
        run_settings(unet, n_train=7)


def test_unknown_value_of_quick_is_refused_by_name(unet, monkeypatch):
    monkeypatch.setenv("A4_QUICK", "yes")
    with pytest.raises(ValueError, match="A4_QUICK"):
        run_cell(unet, 'os.environ.get("A4_QUICK"')


def test_doubled_run_uses_the_settings_of_the_notebook(unet):
    settings = run_settings(unet, n_train=8)
    names = ("width", "lr", "n_epochs", "batch_sizes")
    ours = (plateau.WIDTH, plateau.LR, plateau.EPOCHS, plateau.BATCH_SIZE)
    assert tuple(settings[name] for name in names) == ours


def test_doubled_run_stores_the_leads_of_both_lengths(unet, discs):
    epochs = {"nuclei 0 to 1": 1}
    usual, doubled = plateau.doubled_leads(unet, {"nuclei 0 to 1": discs}, 1, 1, 2, epochs)
    scores = []
    for build in (unet.with_skips, unet.without_skips):
        changes = {"width": 2, "epochs": 2, "lr": 0.001, "build": build}
        rows = unet.train_and_score(**arguments(unet, discs, **changes))["scores"]
        scores.append([row["test_miou"] for row in rows])
    assert [usual["epochs"], doubled["epochs"]] == [1, 2]
    for i, record in enumerate((usual, doubled)):
        assert record["lead"] == pytest.approx(scores[0][i] - scores[1][i], abs=1e-5)
