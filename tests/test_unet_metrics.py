"""The scores of the U-Net notebook, against masks worked by hand and against libraries."""

import re

import lift
import nbformat
import notebooks
import numpy as np
import plateau
import pytest
import torch
from definitions import ROOT
from scipy import stats
from sklearn.metrics import jaccard_score


def make_run(unet, miou=(), test=None, labels=None, variant="with skips", seed=0):
    by_epoch = dict(enumerate(miou, 1))
    losses = [0.0] * max(len(miou), 1)
    test = {} if test is None else {len(losses): test}
    return unet.Run("x", variant, seed, losses, {}, by_epoch, test, labels)


# --- IoU -------------------------------------------------------------------------------------


def test_confusion_matrices_are_counted_image_by_image_and_leave_out_unlabelled_pixels(unet):
    masks = torch.tensor([[[0, 0, 1, 1, 2, unet.IGNORE]], [[2, 2, 2, 2, 2, 2]]])
    labels = torch.tensor([[[0, 1, 1, 1, 0, 2]], [[2, 2, 2, 0, 0, 1]]])
    counts = unet.confusion_matrices(labels, masks, 3)
    assert counts[0].tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert counts[1].tolist() == [[0, 0, 0], [0, 0, 0], [2, 1, 3]]
    assert unet.iou(counts)[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])


def test_iou_agrees_with_scikit_learn(unet):
    rng = np.random.default_rng(0)
    labels, masks = torch.from_numpy(rng.integers(0, 3, (2, 5, 20, 30))).byte()
    masks[torch.from_numpy(rng.random(masks.shape) < 0.1)] = unet.IGNORE
    counts = unet.confusion_matrices(labels, masks, 3)
    counted = masks != unet.IGNORE
    expected = jaccard_score(masks[counted], labels[counted], average=None)
    assert unet.iou(counts.sum(0)) == pytest.approx(expected)
    assert unet.mean_iou(counts) == pytest.approx(expected.mean())


def test_a_class_that_is_nowhere_does_not_count_in_the_mean(unet):
    masks = torch.tensor([[[0, 0], [1, 1]]])
    counts = unet.confusion_matrices(masks, masks, 3)
    assert np.isnan(unet.iou(counts[0])[2])
    assert unet.mean_iou(counts) == 1


# --- contours --------------------------------------------------------------------------------


def square(top, left, side, shape=(20, 20)):
    mask = np.zeros((1, *shape), np.uint8)
    mask[:, top : top + side, left : left + side] = 1
    return mask


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


def test_boundary_iou_looks_two_percent_of_the_diagonal_deep(unet):
    """In 100 x 100 pixels d is 3: what is wrong in the middle of a large object is not seen."""
    truth = square(10, 10, 70, (100, 100))
    hole, dent = truth.copy(), truth.copy()
    hole[:, 30:50, 30:50] = 0  # a new contour of the prediction only
    dent[:, 10:13, 10:80] = 0
    intact = truth.copy()
    intact[:, 10:13, 10:11] = 0
    assert unet.boundary_iou(intact, truth, 2) > 0.97
    assert unet.boundary_iou(dent, truth, 2) < 0.75
    assert unet.boundary_iou(hole, truth, 2) < 0.9


def test_distance_is_that_to_the_nearest_other_label_unlabelled_ones_included(unet):
    masks = np.array([[[0, 0, 0, 1, 2, 2, 2, 255, 1, 1]]], np.uint8)
    assert unet.contour_distance(masks).tolist() == [[[3, 2, 1, 1, 1, 2, 1, 0, 1, 2]]]
    assert not unet.contour_distance(np.ones((1, 4, 4), np.uint8)).any()  # there is no contour


def test_errors_are_counted_where_they_are_looked_for(unet):
    masks = np.zeros((1, 10, 10), np.uint8)
    masks[:, 5:] = 1
    labels = torch.from_numpy(masks.copy())
    labels[0, 5] = 0  # the row of class 1 that touches the contour
    labels[0, 0, :5] = 1  # half of the row of class 0 that is five away
    distance = unet.contour_distance(masks)
    r = make_run(unet, labels=labels)
    found = [unet.error_rate(r, masks, distance == d) for d in range(1, 6)]
    assert found == [0.5, 0, 0, 0, 0.25]
    assert np.isnan(unet.error_rate(r, masks, distance > 99))


def test_final_scores_take_the_boundary_iou_only_where_every_pixel_is_labelled(unet):
    masks = torch.from_numpy(square(5, 5, 6))
    masks = torch.cat([masks, masks])
    images = torch.arange(2 * 400).view(2, 1, 20, 20).byte()
    distance = unet.contour_distance(masks.numpy())
    for unlabelled in (False, True):
        if unlabelled:
            masks[:, 0] = unet.IGNORE
        splits = dict.fromkeys(("train", "val", "test"), (images, masks))
        data = unet.SegmentationData("x", ("other", "object"), (), splits)
        counts = unet.confusion_matrices(masks.clamp(max=1), masks, 2)
        r = make_run(unet, [0.7], counts, masks.clamp(max=1))
        scores = unet.final_scores(r, data, distance)
        assert ("boundary_iou" in scores) != unlabelled
        assert (scores["miou"], scores["iou_other"], scores["iou_object"]) == (0.7, 1, 1)
    assert scores["near_error"] == 0


# --- Assignment 2's rule ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "union", "expected"),
    [
        (1, 1, 1),
        (19, 20, 0.9),
        (4, 5, 0.6),
        (11, 20, 0.1),
        (56, 100, 0.2),
        (1, 2, 0),
        (1, 9, 0),
    ],
)
def test_a2_score_by_hand(unet, hits, union, expected):
    truth, flower = np.zeros((2, 2, 10, 20), bool)
    truth.reshape(2, -1)[:, :union] = True
    flower.reshape(2, -1)[0, :hits] = True  # the second image is missed: its score is 0
    assert unet.a2_score(flower, truth) == pytest.approx(expected / 2)


# --- comparison ------------------------------------------------------------------------------


def test_lead_is_paired_by_seed_and_its_interval_is_that_of_the_t_test(unet):
    a, b = [0.7, 0.72, 0.69, 0.75], [0.6, 0.66, 0.61, 0.62]
    runs = [make_run(unet, [0.1, m], seed=i) for i, m in enumerate(a)]
    runs += [make_run(unet, [0.2, m], variant="without skips", seed=i) for i, m in enumerate(b)]
    runs.append(make_run(unet, [0.0, 0.5], variant="equal size"))
    found = unet.confidence_interval(unet.lead(runs, "x", 2))
    test = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found == pytest.approx((np.mean(a) - np.mean(b), test.low, test.high))
    assert unet.lead(runs, "x", 1) == pytest.approx([-0.1] * 4)
    assert unet.lead(runs, "x", 2, "equal size") == pytest.approx([0.2])  # seeds of both


def test_bootstrap_of_a_mean_over_images_has_the_width_of_its_standard_error(unet):
    """Images all right or half wrong: the mIoU is 1/3 to 1, its spread known by resampling."""
    rng = np.random.default_rng(1)
    wrong = rng.random(200) < 0.3
    right = np.tile(np.array([[50, 0], [0, 50]]), (200, 1, 1))
    counts = np.where(wrong[:, None, None], [[25, 25], [25, 25]], right)
    a, b = make_run(unet, [1.0], right), make_run(unet, [0.0], counts)
    a, b = (r._replace(labels=torch.zeros(200, 1, 1)) for r in (a, b))
    low, high = unet.bootstrap([a, a], [b, b]).values()
    share = wrong.mean()
    iou = [
        (1 - s / 2) / (1 + s / 2)
        for s in share + 1.96 * np.array([-1, 1]) * np.sqrt(share * (1 - share) / 200)
    ]
    assert (low, high) == pytest.approx((1 - iou[0], 1 - iou[1]), abs=0.01)
    assert set(unet.bootstrap([a], [a]).values()) == {0}


def test_examples_are_the_middle_the_best_and_the_worst_that_show_every_class(unet):
    shares = [30, 20, 10, 0, 50]  # wrong pixels of 100
    counts = np.array([[[50, 0], [s, 50 - s]] for s in shares])
    counts = np.concatenate([counts, [[[0, 100], [0, 0]]]])  # the last shows one class only
    assert unet.examples([make_run(unet, [0.5], counts)] * 3) == [1, 3, 4]


def test_marked_epochs_hold_the_length_and_those_of_the_shorter_runs(unet):
    assert unet.marks(40) == [1, 2, 3, 5, 8, 12, 20, 30, 40]
    assert unet.marks(7) == [1, 2, 3, 5, 7]
    assert unet.marks(1) == [1]
    for usual in (8, 12, 20, 40):  # of the settings: a run of twice the length is scored there
        assert usual in unet.marks(2 * usual)


def test_result_line(unet, capsys):
    unet.result("gain", variant="with skips", epochs=20, lead=0.05)
    assert capsys.readouterr().out == "RESULT gain variant=with-skips epochs=20 lead=0.05000\n"


def test_plateau_of_a_longer_run_is_stored_and_a_usual_run_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plateau, "STORED", tmp_path / "plateau.txt")
    lines = [
        "RESULT gain dataset=nuclei epochs=2 lead=0.1",
        "RESULT plateau dataset=nuclei lead=0.1",
    ]
    for printed in ([*lines, "RESULT score miou=1"], lines[:1]):
        output = nbformat.v4.new_output("stream", text="\n".join(["2 epochs", *printed, ""]))
        cell = nbformat.v4.new_code_cell("", outputs=[output])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
        if len(printed) > 1:
            plateau.main(tmp_path / "x.ipynb")
            assert (tmp_path / "plateau.txt").read_text().splitlines()[1:] == lines
        else:
            with pytest.raises(ValueError, match="A4_LONGER=2"):
                plateau.main(tmp_path / "x.ipynb")


def test_the_notebook_says_of_twice_the_length_what_was_stored():
    """Its second text cell, "the lead goes from 0.012 to 0.013 on flowers and ..."."""
    stored = {
        line["dataset"]: [f"{float(line[key]):.3f}" for key in ("lead_usual", "lead")]
        for line in notebooks.select(lift.read_plateau(), "plateau")
    }
    _, cells = notebooks.read_cells(ROOT)
    text = " ".join("\n".join(c.source for c in cells if c.cell_type == "markdown").split())
    said = re.findall(r"from (0\.\d+) to (0\.\d+) on (\w+)", text)
    assert {name: [a, b] for a, b, name in said} == stored


@pytest.fixture(scope="module")
def stored():
    """Text of the stored answer, and the RESULT lines."""
    _, cells = notebooks.read_cells(ROOT)
    return notebooks.answer(cells, "answer-4.2"), notebooks.results(cells)


def leads(lines, dataset):
    """The skips' lead in mIoU after five epochs and at the end."""
    early = notebooks.one(lines, "gain", dataset=dataset, epochs=5)
    last = notebooks.select(lines, "gain", dataset=dataset)[-1]
    return float(early["lead"]), float(last["lead"])


def test_the_stored_answer_has_the_numbers_of_the_table(stored):
    text, lines = stored
    shown = [float(x) for x in re.findall(r"[+-]?\d+\.\d+", text.replace("−", "-"))]
    wrong = [
        100 * float(notebooks.one(lines, "score", dataset=name, variant=v)["near_error"])
        for name in ("flowers", "nuclei")
        for v in ("with-skips", "without-skips")
    ]
    early, last = zip(leads(lines, "flowers"), leads(lines, "nuclei"), strict=True)
    assert shown[:4] == pytest.approx([*last, *early], abs=0.00051)
    assert shown[4:] == pytest.approx(wrong, abs=0.051)


def test_on_nuclei_most_of_the_early_lead_fades(stored):
    """As the report says beside the answer to 4.2."""
    early, last = leads(stored[1], "nuclei")
    assert 0 < last < early / 2
