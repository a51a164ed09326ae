"""The README's results: its table, and the picture of both findings."""

import hashlib
import re
from pathlib import Path

import latex
import matplotlib.pyplot as plt
import tables
from notebooks import Result, one, select
from proof_figures import STYLE


def markdown_table(table: latex.Table) -> str:
    """A table in GitHub's Markdown."""
    header, rows = table
    lines = [header, ["---"] * len(header), *filter(None, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def refresh(text: str, gnn: list[Result], unet: list[Result]) -> str:
    """The README with what stands between its two markers made anew from RESULT lines."""
    times = [
        f"`{line['notebook']}` {line['minutes']} minutes ({line['device']}, threads: "
        f"{line['threads']})"
        for line in [*select(gnn, "notebook"), *select(unet, "notebook")]
    ]
    paragraphs = [
        markdown_table(tables.summary(gnn, unet)),
        f"The stored runs took: {', '.join(times)}.",
    ]
    return re.sub(
        r"(<!-- results.*?-->\n).*(<!-- /results -->)",
        lambda match: "\n\n".join([match[1].strip(), *paragraphs, match[2]]),
        text,
        flags=re.S,
    )


def source(gnn: list[Result], unet: list[Result]) -> str:
    """Digest of the RESULT lines that the picture shows; it is stored in the file."""
    shown = [*select(gnn, "ladder"), *select(gnn, "pair"), *select(unet, "gain")]
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def draw_ladder(axis: plt.Axes, lines: list[Result]) -> None:
    """Draw what each change from GCN to GAT adds, in points, at each length of training."""
    epochs = tables.lengths(lines, "ladder", ladder="ELU")
    for k, (e, grey, marker) in enumerate(
        zip(epochs, ("0.7", "0.45", "0"), "os^", strict=False)
    ):
        found = [one(lines, "ladder", ladder=rung, epochs=e) for rung in tables.STEPS]
        step, low, high = (
            [100 * float(line[key]) for line in found] for key in ("step", "ci_low", "ci_high")
        )
        rows = [row + 0.2 * (k - 1) for row in range(len(found))]
        axis.hlines(rows, low, high, color=grey)
        axis.plot(step, rows, marker, color=grey, label=f"{e} epochs")
    axis.axvline(0, color="0.45", lw=0.8)
    axis.set_yticks(range(len(tables.STEPS)), tables.STEPS.values())
    axis.invert_yaxis()
    axis.set_xlabel("change of test accuracy in points, 95 % interval")
    axis.set_title("GAT − GCN: " + tables.lead(lines))
    axis.legend()


def draw_gain(axis: plt.Axes, lines: list[Result]) -> None:
    """Draw the lead of the skips in mIoU against the length of training."""
    leads = []
    for data, marker, style in zip(tables.datasets(lines), "os", ("-", "--"), strict=False):
        found = sorted(
            select(lines, "gain", dataset=data), key=lambda line: int(line["epochs"])
        )
        epochs = [int(line["epochs"]) for line in found]
        lead, low, high = (
            [float(line[key]) for line in found] for key in ("lead", "ci_low", "ci_high")
        )
        axis.plot(epochs, lead, marker + style, color="#0072B2", label=data)
        axis.fill_between(epochs, low, high, color="#0072B2", alpha=0.15, lw=0)
        leads.append(f"{data} {tables.number(lead[-1], 3, sign='+')}")
    axis.axhline(0, color="0.45", lw=0.8)
    axis.set(
        xlabel="epochs",
        ylabel="difference in test mIoU, 95 % interval",
        title=f"skips add {tables.listed(leads)}",
        xlim=(2.5, None),  # before, the networks have hardly learned
        ylim=(-0.05, 0.2),
    )
    axis.legend()


def draw(gnn: list[Result], unet: list[Result], path: Path) -> None:
    """Draw the ladder of 3.6 beside the gain curve of 4.2, as a PNG file."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        draw_ladder(left, gnn)
        draw_gain(right, unet)
        figure.savefig(path, dpi=200, metadata={"Source": source(gnn, unet)})
        plt.close(figure)
