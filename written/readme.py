"""Writes the README's results and draws its picture, from the tables of the stored notebooks.

Usage: python written/readme.py
"""

import re
from pathlib import Path

import fill
import matplotlib.pyplot as plt
import pandas as pd
from notebooks import Notebooks
from proof_figures import STYLE

MARKERS = "os^"
COLORS = ("#0072B2", "#D55E00", "#009E73")  # safe for the color-blind


def results(folder: Path) -> str:
    """The results of the notebooks in a folder, as a table of Markdown."""
    template = fill.environment(Notebooks(folder)).get_template("results.md")
    return template.render().replace("$-$", "−")


def refresh(text: str, table: str) -> str:
    """The README with these results between its two marks."""
    pattern = r"(<!-- results -->\n).*(<!-- /results -->)"
    new, count = re.subn(pattern, lambda m: f"{m[1]}\n{table}\n{m[2]}", text, flags=re.S)
    if count != 1:
        raise ValueError("README.md must have <!-- results --> and <!-- /results -->")
    return new


def draw_ladder(axis: plt.Axes, ladder: pd.DataFrame) -> None:
    """Draw the gain of each change from GCN to GAT, at each length of training."""
    gains = [column for column in ladder.columns if column.startswith("gain_")]
    for k, gain in enumerate(gains):
        epochs = gain.removeprefix("gain_")
        places = [place + 0.2 * (k - 1) for place in range(len(ladder))]
        gray = str(0.7 - 0.35 * k)
        axis.errorbar(
            100 * ladder[gain],
            places,
            xerr=100 * ladder[f"half_{epochs}"],
            fmt=MARKERS[k],
            color=gray,
            label=f"{epochs} epochs",
        )
    axis.set_yticks(range(len(ladder)), ladder.index)
    axis.invert_yaxis()
    axis.axvline(0, color="0.45", lw=0.8)
    axis.set(xlabel="gain in test accuracy (points)", title="From GCN to GAT, change by change")
    axis.legend()


def draw_lead(axis: plt.Axes, lead: pd.DataFrame) -> None:
    """Draw the lead of the U-Net with skips against the number of epochs."""
    for k, (name, leads) in enumerate(lead.items()):
        leads = leads.dropna()
        style = f"{MARKERS[k]}-"
        axis.plot(leads.index, leads, style, color=COLORS[k], label=name.replace("_", " "))
    axis.axhline(0, color="0.45", lw=0.8)
    axis.set(
        xlabel="epochs", ylabel="lead in test mIoU", title="U-Net: lead of the skip connections"
    )
    axis.legend()


def draw(tables: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw both findings side by side, as a PNG file."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        draw_ladder(left, tables["gnn_ladder"])
        draw_lead(right, tables["unet_lead"])
        figure.savefig(path, dpi=200)
        plt.close(figure)


def main(root: Path) -> None:
    """Refresh the README and its picture in the project's folder."""
    path = root / "README.md"
    path.write_text(refresh(path.read_text("utf-8"), results(root)), encoding="utf-8")
    draw(Notebooks(root).tables(), root / "written" / "findings.png")


if __name__ == "__main__":
    main(fill.WRITTEN.parent)
