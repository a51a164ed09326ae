"""The README's picture: what makes GAT lead, and how long the skips of the U-Net lead."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from proof_figures import STYLE

MARKERS = "os^"


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
    for marker, (name, leads) in zip(MARKERS, lead.items(), strict=False):
        leads = leads.dropna()
        axis.plot(leads.index, leads, f"{marker}-", label=name.replace("_", " "))
    axis.axhline(0, color="0.45", lw=0.8)
    axis.set(xlabel="epochs", ylabel="lead in test mIoU", title="U-Net: lead of the skips")
    axis.legend()


def draw(tables: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw both findings side by side, as a PNG file."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        draw_ladder(left, tables["gnn_ladder"])
        draw_lead(right, tables["unet_lead"])
        figure.savefig(path, dpi=200)
        plt.close(figure)
