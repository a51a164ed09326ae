"""The stored answer to 3.6 against the stored tables."""

import io
import json
import re

import nbformat
import pandas as pd
import pytest
from definitions import ROOT


@pytest.fixture(scope="module")
def cells():
    return nbformat.read(ROOT / "a4-gnn.ipynb", as_version=4).cells


@pytest.fixture(scope="module")
def tables(cells):
    """The tables that the notebook shows, by name."""
    found = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            if "table" in output.get("metadata", {}):
                data = io.StringIO(json.dumps(output.metadata["table"]))
                found[output.metadata["name"]] = pd.read_json(data, orient="table")
    return found


def test_answer_is_short(cells):
    (cell,) = [cell for cell in cells if "answer-3.6" in cell.metadata.get("tags", [])]
    answer = cell.outputs[0].data["text/markdown"]
    assert len(re.findall(r"[.!?](?=\s|$)", answer)) <= 3
    assert len(answer.split()) <= 80


def test_tables_support_the_words_of_the_answer(tables):
    lead, ladder = tables["gnn-lead"], tables["gnn-ladder"]
    assert lead["lead"][100] > 2 * lead["lead"][400] > 2 * lead["lead"][800]
    assert lead["low"][800] > 0
    for epochs in (100, 400):  # learned attention costs accuracy
        gain, half = ladder[f"gain_{epochs}"], ladder[f"half_{epochs}"]
        assert gain["learned attention"] + half["learned attention"] < 0
    assert set(ladder["gain_100"].nlargest(2).index) == {"ELU", "no bias"}
    assert set(ladder["gain_400"].nlargest(2).index) == {"dropout", "no bias"}


def test_tables_support_the_further_experiments(tables):
    differences = tables["gnn-public-differences"].set_index(["setting", "pair"])
    assert differences.loc[("papers' settings", "GAT - GCN"), "best_low"] > 0
    for pair in ("GAT - GCN", "GAT - equal weights"):
        row = differences.loc[("equal terms", pair)]
        assert row["best_low"] < 0 < row["best_high"]
    rates = tables["gnn-learning-rates"]
    assert (rates["low"] > 0).all()
    share = tables["gnn-bias"]["share_commonest"]
    assert share["GCN"] > 0.9 > 0.7 > share["no bias"]
    assert tables["gnn-entropy"]["mean_entropy"].min() > 0.99
    single = tables["gnn-single-runs"]
    assert single["train_loss"]["GAT"] > single["train_loss"]["GCN"]
    assert single["test_loss"]["GAT"] < single["test_loss"]["GCN"]
