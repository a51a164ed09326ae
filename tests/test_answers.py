"""What the notebooks say in words, against their stored tables."""

import json
import re

import nbformat
import pytest
from definitions import ROOT
from notebooks import Notebooks

TABLES = Notebooks(ROOT).tables()
NUCLEI = ["nuclei 0 to 1", "nuclei 1 to 0"]


@pytest.mark.parametrize("tag", ["answer-3.6", "answer-4.2"])
def test_answer_keeps_the_limit_of_three_sentences(tag):
    answer = Notebooks(ROOT).displayed(tag, "text/markdown")
    assert len(re.findall(r"[.!?](?=\s|$)", answer)) <= 3


def test_tables_support_the_answer_to_3_6():
    lead, ladder = TABLES["gnn_lead"], TABLES["gnn_ladder"]
    assert lead["lead"][100] > 2 * lead["lead"][400] > 2 * lead["lead"][800]
    assert lead["low"][800] > 0
    for epochs in (100, 400):  # learned attention costs accuracy
        gain, half = ladder[f"gain_{epochs}"], ladder[f"half_{epochs}"]
        assert gain["learned attention"] + half["learned attention"] < 0
    assert set(ladder["gain_100"].nlargest(2).index) == {"ELU", "no bias"}
    assert set(ladder["gain_400"].nlargest(2).index) == {"dropout", "no bias"}


def test_tables_support_the_further_experiments_on_graphs():
    differences = TABLES["gnn_public_differences"].set_index(["setting", "pair"])
    published = differences.loc[("published settings", "GAT - GCN")]
    assert published["best_low"] > 0 > published["last_low"]
    for pair in ("GAT - GCN", "GAT - equal weights"):
        row = differences.loc[("equal terms", pair)]
        assert row["best_low"] < 0 < row["best_high"]
        assert row["last_low"] < 0 < row["last_high"]
    rates = TABLES["gnn_learning_rates"]
    assert (rates["low"] > 0).all()
    share = TABLES["gnn_bias"]["share_commonest"]
    assert share["GCN"] > 0.9 > 0.7 > share["no bias"]
    assert TABLES["gnn_entropy"]["mean_entropy"].min() > 0.99
    single = TABLES["gnn_single_runs"]
    assert single["train_loss"]["GAT"] > single["train_loss"]["GCN"]
    assert single["test_loss"]["GAT"] < single["test_loss"]["GCN"]


def test_tables_support_the_answer_to_4_2():
    lead = TABLES["unet_final_lead"]
    assert (lead["lowest"] > 0).all()
    assert (lead["images_low"] > 0).all()
    scores = TABLES["unet_scores"].set_index(["variant", "dataset"])
    near, far = scores["near_error"], scores["far_error"]
    assert (near["with skips"] < 0.9 * near["without skips"]).all()
    assert (abs(far["with skips"] - far["without skips"]) < 0.001).all()


def test_tables_support_the_further_experiments_on_u_nets():
    leads = TABLES["unet_lead"]
    for name in ("nuclei_0_to_1", "nuclei_1_to_0"):
        assert leads[name].idxmax() <= 5
    classes = TABLES["unet_class_iou"].set_index(["variant", "dataset"])
    gain = classes.loc["with skips"] - classes.loc["without skips"]
    assert (gain.stack().dropna() > 0).all()
    assert (gain.loc[NUCLEI].idxmax(axis=1) == "boundary").all()
    final = TABLES["unet_final_lead"]["lead"]
    equal_size = TABLES["unet_equal_size"].set_index("dataset")["lead"]
    assert (equal_size > 0.5 * final).all()
    assert (equal_size[NUCLEI] > 0.9 * final[NUCLEI]).all()
    score, band = TABLES["unet_a2"]["score"], TABLES["unet_a2"]["flower_and_band"]
    assert score["with skips"] > score["without skips"] > band.max()


def test_the_notebook_names_the_leads_of_the_longer_training():
    stored = json.loads((ROOT / "written/plateau.json").read_text("utf-8"))
    cells = nbformat.read(ROOT / "a4-unet.ipynb", as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    (text,) = [text for text in texts if "make plateau" in text]
    for record in stored:
        assert f"{record['lead']:.3f}" in text
