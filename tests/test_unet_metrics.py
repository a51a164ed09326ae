"""The scores of the U-Net notebook against their definitions."""

import numpy as np
import pytest
import torch


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def masks(unet, random):
    """Predicted and true labels of five images; a tenth of the pixels is unlabeled."""
    labels, masks = torch.randint(3, (2, 5, 12, 9), generator=random).byte()
    masks[torch.rand(masks.shape, generator=random) < 0.1] = unet.IGNORE
    return labels, masks


# --- IoU


def test_iou_is_its_definition_by_sets(unet, masks):
    labels, true = masks
    known = set(map(tuple, (true != unet.IGNORE).nonzero().tolist()))
    expected = []
    for label in range(3):
        a = set(map(tuple, (labels == label).nonzero().tolist())) & known
        b = set(map(tuple, (true == label).nonzero().tolist()))
        expected.append(len(a & b) / len(a | b))
    confusion = unet.confusion_matrix(labels, true, 3)
    assert unet.iou(confusion).tolist() == pytest.approx(expected)
    assert unet.mean_iou(confusion).item() == pytest.approx(np.mean(expected))


def test_predictions_of_unlabeled_pixels_do_not_count(unet, masks):
    labels, true = masks
    changed = labels.clone()
    changed[true == unet.IGNORE] = 2
    before, after = (unet.confusion_matrix(x, true, 3) for x in (labels, changed))
    assert torch.equal(before, after)


def test_absent_class_is_nan_and_left_out_of_the_mean(unet):
    masks, labels = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 1]])
    confusion = unet.confusion_matrix(labels, masks, 3)
    assert unet.iou(confusion)[2].isnan()
    assert unet.mean_iou(confusion).item() == pytest.approx((1 / 2 + 2 / 3) / 2)


# --- errors near contours


def test_contour_distance_is_its_definition(unet, random):
    masks = torch.randint(3, (2, 4, 5), generator=random).repeat_interleave(3, 1)
    masks = masks.repeat_interleave(2, 2).byte()  # [2, 12, 10]
    masks[:, 2:4, 3:7] = unet.IGNORE
    distances = unet.contour_distances(masks)
    for distance, mask in zip(distances, masks, strict=True):
        for y, x in np.ndindex(mask.shape):
            if mask[y, x] == unet.IGNORE:
                assert np.isnan(distance[y, x])
            else:
                others = (mask != mask[y, x]).nonzero() - torch.tensor([y, x])
                nearest = others.double().norm(dim=1).min().item()
                assert distance[y, x] == pytest.approx(nearest)


def test_near_and_far_errors_are_shares_of_wrong_pixels(unet):
    masks = torch.zeros(1, 2, 40).byte()
    masks[..., 20:] = 1  # distances are 20, ..., 1, 1, ..., 20
    labels = masks.clone()
    labels[..., 19] = 1  # two of the twelve near pixels
    labels[..., 0, 33] = 0  # one of the forty far pixels
    scores = unet.final_scores(labels, masks, unet.contour_distances(masks), 2)
    assert scores["near_error"] == pytest.approx(2 / 12)
    assert scores["far_error"] == pytest.approx(1 / 40)


# --- comparison


@pytest.fixture
def confusions(random):
    """Matrices of two seeds and thirty images for a good and for a bad network."""
    return [
        torch.randint(50, (2, 30, 2, 2), generator=random) + right * torch.eye(2).long()
        for right in (200, 100)
    ]


def test_bootstrap_interval_contains_the_lead(unet, confusions):
    first, second = (unet.mean_iou(x.sum(dim=1)).mean().item() for x in confusions)
    low, high = unet.bootstrap_lead(*confusions)
    assert 0 < low < first - second < high


def test_bootstrap_is_deterministic(unet, confusions):
    assert unet.bootstrap_lead(*confusions) == unet.bootstrap_lead(*confusions)


def test_bootstrap_draws_the_same_images_for_both_networks(unet, confusions):
    assert unet.bootstrap_lead(confusions[0], confusions[0]) == (0, 0)


@pytest.mark.parametrize(
    ("hits", "union", "points"),
    [
        (1, 1, 10),
        (4, 5, 6),
        (56, 100, 2),
        (11, 20, 1),
        (1, 2, 0),
    ],
)
def test_assignment2_score_by_hand(unet, hits, union, points):
    truth, flower = torch.zeros(2, 2, 10, 20, dtype=torch.bool)
    truth.view(2, -1)[:, :union] = True
    flower.view(2, -1)[0, :hits] = True  # the second image is missed and gets 0
    assert unet.assignment2_score(flower, truth) == pytest.approx(points / 10 / 2)
