"""The scores of the U-Net notebook, against masks worked by hand and against libraries."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from torchvision.transforms import v2


@pytest.fixture
def random_masks(unet):
    """Predictions and truth of three classes, a tenth of the truth unlabelled."""
    rng = np.random.default_rng(0)
    labels, masks = rng.integers(0, 3, (2, 5, 20, 30))
    masks[rng.random(masks.shape) < 0.1] = unet.IGNORE
    return torch.from_numpy(labels).byte(), torch.from_numpy(masks).byte()


def test_confusion_matrix_by_hand(unet):
    masks = torch.tensor([[0, 0, 1, 1, 2, unet.IGNORE]])
    labels = torch.tensor([[0, 1, 1, 1, 0, 2]])
    confusion = unet.confusion_matrix(labels, masks, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert unet.iou_per_class(confusion).tolist() == pytest.approx([1 / 3, 2 / 3, 0])


def test_scores_agree_with_scikit_learn(unet, random_masks):
    labels, masks = random_masks
    scores = unet.score(labels, masks, ("a", "b", "c"))
    counted = masks != unet.IGNORE
    t, p = masks[counted].numpy(), labels[counted].numpy()
    iou = jaccard_score(t, p, average=None)
    assert [scores[f"iou_{c}"] for c in "abc"] == pytest.approx(iou)
    assert scores["miou"] == pytest.approx(iou.mean())
    assert scores["dice"] == pytest.approx(f1_score(t, p, average="macro"))
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(t, p))


def test_a_class_that_is_nowhere_does_not_count_in_the_mean(unet):
    masks = torch.tensor([[[0, 0], [1, 1]]])
    assert unet.score(masks, masks, ("a", "b", "c"))["miou"] == 1.0


# --- boundary IoU ----------------------------------------------------------------------------


def square(top, left, side, shape=(20, 20)):
    mask = torch.zeros(1, *shape, dtype=torch.uint8)
    mask[:, top : top + side, left : left + side] = 1
    return mask


def test_inner_boundary_of_a_square_is_its_frame(unet):
    frame = unet.inner_boundary(square(5, 5, 8) == 1, 2)
    expected = square(5, 5, 8) - square(7, 7, 4)
    assert torch.equal(frame, expected == 1)


def test_the_edge_of_the_image_is_a_boundary(unet):
    whole = torch.ones(1, 6, 6, dtype=torch.bool)
    assert unet.inner_boundary(whole, 1).sum() == 36 - 16


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_inner_boundary_agrees_with_erosion_step_by_step(unet, distance):
    mask = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(40, 50)), 3) > 0
    eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance)
    found = unet.inner_boundary(torch.from_numpy(mask)[None], distance)[0]
    assert torch.equal(found, torch.from_numpy(mask & ~eroded))


def test_boundary_iou_by_hand(unet):
    """A square of 6 x 6 pixels, and the same one pixel to the right, in 20 x 20 pixels.

    d = round(0.02 * 28.3) = 1. Each square's boundary is its frame of 20 pixels; the frames
    share their top and bottom rows but for one pixel each, 2 * 5, and nothing else. Around each
    square lies a ring of 8 x 8 - 36 = 28 pixels of the other class, of which the two share
    2 * 7, and the frame of the image, 76 pixels, is boundary of that class in both.
    """
    truth, shifted = square(5, 5, 6), square(5, 6, 6)
    flower = 10 / (20 + 20 - 10)
    other = (14 + 76) / (2 * (28 + 76) - (14 + 76))
    assert unet.boundary_iou(truth, truth, 2) == 1
    assert unet.boundary_iou(shifted, truth, 2) == pytest.approx((flower + other) / 2)


def test_boundary_iou_is_stricter_than_iou_on_a_large_object(unet):
    truth, shifted = square(10, 10, 70, (100, 100)), square(13, 10, 70, (100, 100))
    iou = unet.score(shifted, truth, ("other", "object"))
    assert iou["miou"] > 0.85
    assert iou["boundary_iou"] < 0.65


def test_boundary_iou_counts_no_unlabelled_pixel(unet):
    """Only class 0, its right half unlabelled; one wrong pixel, in the top left corner.

    The labelled half of the image's frame has 10 + 10 + 18 = 38 pixels. The wrong pixel leaves
    it, and its diagonal neighbour joins it; the prediction of class 1 meets no truth.
    """
    truth, labels = torch.zeros(2, 1, 20, 20, dtype=torch.uint8)
    truth[..., 10:] = unet.IGNORE
    labels[..., 0, 0] = 1
    assert unet.boundary_iou(labels, truth, 2) == pytest.approx((37 / 39 + 0) / 2)


# --- Assignment 2's score --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "union", "expected"),
    [
        (1, 1, 1),
        (97, 100, 1),
        (95, 100, 0.9),
        (4, 5, 0.6),
        (11, 20, 0.1),
        (56, 100, 0.2),
        (51, 100, 0.1),
        (1, 2, 0),
        (1, 10, 0),
    ],
)
def test_a2_iou_by_hand(unet, hits, union, expected):
    masks, labels = torch.zeros(2, 1, 10, 20, dtype=torch.uint8)
    masks.view(-1)[:union] = 1
    labels.view(-1)[:hits] = 1
    assert unet.a2_iou(labels, masks) == pytest.approx(expected)


def test_a2_iou_is_a_mean_over_images(unet):
    masks = torch.ones(2, 4, 4, dtype=torch.uint8)
    labels = masks.clone()
    labels[1] = 0
    assert unet.a2_iou(labels, masks) == pytest.approx(0.5)


def test_a2_rule_counts_the_unlabelled_band_as_other(unet):
    masks = torch.tensor([[[1, 1, 1, 1, unet.IGNORE, unet.IGNORE, 0, 0]]])
    labels = torch.tensor([[[1, 1, 1, 1, 1, 0, 0, 0]]])
    scores = unet.score(labels, masks, ("other", "flower"))
    assert scores["a2_iou"] == pytest.approx(0.6)  # IoU 4 / 5
    assert scores["a2_iou_labelled"] == 1
    assert scores["miou"] == 1


# --- baselines -------------------------------------------------------------------------------


def test_otsu_minimises_the_variance_within_both_groups(unet):
    rng = np.random.default_rng(0)
    grey = np.concatenate([rng.normal(60, 12, 3000), rng.normal(170, 25, 1000)])
    grey = grey.clip(0, 255).astype(np.uint8)

    def within(t):
        groups = grey[grey <= t].astype(float), grey[grey > t].astype(float)
        return sum(g.var() * len(g) for g in groups)

    threshold = unet.otsu_threshold(torch.from_numpy(grey))
    best = min(within(t) for t in range(int(grey.min()), int(grey.max())))
    assert within(threshold) == pytest.approx(best)


def test_baselines_need_no_training(unet):
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[:, 2:5, 2:5] = 1
    images = (30 + 150 * masks).unsqueeze(1)
    splits = dict.fromkeys(unet.SPLITS, (images, masks))
    data = unet.SegmentationData("x", ("other", "object"), splits, v2.Identity())
    predicted = unet.baselines(data)
    assert torch.equal(predicted["majority"], torch.zeros_like(masks))
    assert torch.equal(predicted["otsu"], masks)


# --- comparison ------------------------------------------------------------------------------


def make_run(unet, labels, miou=0.0, seed=0):
    return unet.Run("x", "with skips", seed, [], labels, {"miou": miou}, 0.0, None)


def test_interval_of_paired_differences_is_that_of_the_paired_t_test(unet):
    a, b = [0.7, 0.72, 0.69, 0.75], [0.6, 0.66, 0.61, 0.62]
    runs = [[make_run(unet, None, m) for m in values] for values in (a, b)]
    test = stats.ttest_rel(a, b).confidence_interval(0.95)
    expected = np.mean(a) - np.mean(b), test.low, test.high
    assert unet.confidence_interval(unet.paired(*runs)) == pytest.approx(expected)


def test_examples_are_the_middle_the_best_and_the_worst_that_show_every_class(unet):
    masks = torch.zeros(5, 4, 4, dtype=torch.uint8)
    masks[:4, :2] = 1  # the fifth shows one class only
    labels = masks.clone()
    labels[0, 0], labels[1, 0, :1], labels[2, :2] = 0, 0, 0
    labels[4, 0] = 1  # so that every class has an IoU, the worst of all
    labels[4, 1:] = 1
    images = torch.zeros(5, 1, 4, 4, dtype=torch.uint8)
    images[0, 0, 0] = 1
    splits = dict.fromkeys(unet.SPLITS, (images, masks))
    data = unet.SegmentationData("x", ("other", "object"), splits, v2.Identity())
    found = unet.examples([make_run(unet, labels)] * 3, data)
    assert found["best"] == 3
    assert found["worst"] == 2
    assert found["typical"] in (0, 1)


def test_errors_are_counted_by_their_distance_from_the_contour(unet):
    masks = torch.zeros(1, 10, 10, dtype=torch.uint8)
    masks[:, 5:] = 1
    labels = masks.clone()
    labels[0, 5] = 0  # the row of class 1 that touches the contour
    labels[0, 0, :5] = 1  # half of the row of class 0 that is five away
    errors = unet.error_by_distance([make_run(unet, labels)], masks, range(1, 6))
    assert errors.tolist() == [[0.5, 0, 0, 0, 0.25]]


def test_distance_is_measured_to_the_nearest_of_all_other_labels(unet):
    masks = torch.tensor([[[0, 0, 0, 1, 2, 2]]], dtype=torch.uint8).repeat(1, 4, 1)
    wrong_far_from_1 = torch.tensor([[[0, 0, 0, 1, 2, 0]]], dtype=torch.uint8).repeat(1, 4, 1)
    errors = unet.error_by_distance([make_run(unet, wrong_far_from_1)], masks, range(1, 4))
    assert errors.tolist() == [[0, 0.5, 0]]


def test_zoom_finds_the_window_with_the_most_contour(unet):
    mask = np.zeros((40, 60), np.uint8)
    mask[25:31, 41:47] = 1
    rows, columns = unet.contour_window(mask, 10)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (10, 10)
    assert rows.start <= 25
    assert rows.stop >= 31
    assert columns.start <= 41
    assert columns.stop >= 47
