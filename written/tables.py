"""What report and README say in numbers: tables and sentences made from RESULT lines."""

import re

from latex import Table
from notebooks import Result, one, select

VARIANTS = {
    "with-skips": "with skips",
    "without-skips": "without skips",
    "equal-size": "without skips, as many weights",
}

STEPS = {
    "no_bias": "+ no bias",
    "ELU": "+ ELU for ReLU",
    "row_averages": "+ row averages",
    "equal_weights": "+ GAT's dropout",
    "GAT": "+ learned attention",
}
SETTINGS = {
    "val": "validation",
    "lr": "step size",
    "decay": "decay of averages",
    "step_chosen": "step size chosen",
    "on-validation": "on validation",
}
MODELS = {
    "equal_weights": "GAT, equal weights",
    "GCN-MLP": "GCN − MLP",
    "GAT-GCN": "GAT − GCN",
    "GAT-equal_weights": "GAT − GAT, equal weights",
}


def number(value: str | float, digits: int = 1, scale: float = 1, sign: str = "") -> str:
    """A number with its digits, a true minus sign and, with ``sign="+"``, always a sign."""
    return f"{scale * float(value):{sign}.{digits}f}".replace("-", "−")


def difference(line: Result, key: str, digits: int = 1, scale: float = 1) -> str:
    """A difference and its interval, as ``+1.2 [0.8, 1.6]``, or how few the seeds were."""
    value = number(line[key], digits, scale, "+")
    if "ci_low" not in line:
        return f"{value} ({line['seeds']} seeds)"
    low, high = (number(line[end], digits, scale) for end in ("ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def points(line: Result, key: str) -> str:
    """A difference of accuracies and its interval, in points."""
    return difference(line, key, scale=100)


def words(text: str) -> str:
    """A name or a value of a RESULT line as it is printed: spaces, and no zeros at the end."""
    return re.sub(r"(\d\.\d*[1-9])0+\b", r"\1", SETTINGS.get(text, text.replace("_", " ")))


def settings(lines: list[Result]) -> Table:
    """What was set: sizes of the splits, then one row for each setting, by `setting` line.

    Raises:
        ValueError: if there are none.
    """
    columns = select(lines, "setting")
    if not columns:
        raise ValueError("no line 'RESULT setting=...' says on what the notebook ran")
    keys = [key for key in columns[0] if key not in ("kind", "setting")]
    splits = [key for key in keys if key in ("train", "val", "validation", "test")]
    rows = []
    for group in (splits, *([key] for key in keys if key not in splits)):
        cells = [group, *([line.get(key, "–") for key in group] for line in columns)]
        rows.append([" / ".join(map(words, cell)) for cell in cells])
    return ["", *(words(line["setting"]) for line in columns)], rows


def lengths(lines: list[Result], kind: str, **wanted: object) -> list[str]:
    """The numbers of epochs at which something was measured, shortest first."""
    return sorted({line["epochs"] for line in select(lines, kind, **wanted)}, key=int)


def span(lines: list[Result], kind: str, **wanted: object) -> tuple[Result, Result]:
    """What was measured after the shortest and after the longest training."""
    epochs = lengths(lines, kind, **wanted)
    return one(lines, kind, epochs=epochs[0], **wanted), one(
        lines, kind, epochs=epochs[-1], **wanted
    )


# --- Question 3 ------------------------------------------------------------------------------


def accuracy(line: Result) -> str:
    """Mean and standard deviation of the test accuracy, in per cent."""
    return f"{number(line['test_accuracy'], scale=100)} ± {number(line['std'], scale=100)}"


def ladder(lines: list[Result]) -> Table:
    """From GCN to GAT: the accuracy of both ends, the steps between them and their sum."""
    epochs = lengths(lines, "ladder", ladder="ELU")  # the longest runs have both ends only
    found = {
        rung: [one(lines, "ladder", ladder=rung, epochs=e) for e in epochs]
        for rung in ("GCN", *STEPS)
    }
    wanted = {"pair": "GAT-GCN", "split": "random140"}
    leads = [one(lines, "pair", **wanted, epochs=e) for e in epochs]
    rows = [
        ["GCN", *map(accuracy, found["GCN"])],
        *([STEPS[rung], *(points(line, "step") for line in found[rung])] for rung in STEPS),
        ["GAT", *map(accuracy, found["GAT"])],
        [],
        ["GAT − GCN", *(points(line, "difference") for line in leads)],
    ]
    return ["", *(f"{e} epochs" for e in epochs)], rows


def public(lines: list[Result]) -> Table:
    """Accuracies and differences on the public split, by terms and choice of the epoch."""
    columns = {
        "equal terms, best epoch": {"setting": "equal", "epoch": "best"},
        "equal terms, last epoch": {"setting": "equal", "epoch": "last"},
        "papers' settings, best epoch": {"setting": "paper", "epoch": "best"},
    }
    rows = []
    for kind, show in (
        ("public", accuracy),
        ("public_pair", lambda x: points(x, "difference")),
    ):
        rows += [[]] if rows else []
        for name in dict.fromkeys(line[kind] for line in select(lines, kind)):
            found = [select(lines, kind, **{kind: name}, **where) for where in columns.values()]
            head = MODELS.get(name, name)
            rows.append([head, *(show(line[0]) if line else "–" for line in found)])
    return ["", *columns], rows


# --- Question 4 ------------------------------------------------------------------------------


def datasets(lines: list[Result]) -> dict[str, str]:
    """The data sets that the U-Net was trained on, and for how many epochs."""
    found = select(lines, "score", variant="with-skips")
    return {line["dataset"]: line["epochs"] for line in found}


def score(line: Result) -> str:
    """Mean and standard deviation of the test mIoU."""
    return f"{number(line['miou'], 3)} ± {number(line['miou_std'], 3)}"


def scores(lines: list[Result]) -> Table:
    """Test mIoU of each variant on each data set; below it what the skips are worth."""
    seen = [name for name in VARIANTS if select(lines, "score", variant=name)]
    rows = []
    for name in seen:
        found = [one(lines, "score", variant=name, dataset=d) for d in datasets(lines)]
        rows.append([VARIANTS[name], *map(score, found)])
    plain = [one(lines, "baseline", baseline="majority", dataset=d) for d in datasets(lines)]
    rows += [["background everywhere", *(number(line["miou"], 3) for line in plain)], []]
    for name in seen[1:]:
        found = [one(lines, "lead", over=name, dataset=d) for d in datasets(lines)]
        cells = [difference(line, "lead", 3) for line in found]
        rows.append([f"with skips − {VARIANTS[name]}", *cells])
    return ["mIoU", *datasets(lines)], rows


# --- both ------------------------------------------------------------------------------------


def summary(gnn: list[Result], unet: list[Result]) -> Table:
    """Both comparisons in at most six rows, after the shortest and the longest training."""
    rows = []
    for pair in span(gnn, "pair", pair="GAT-GCN", split="random140"):
        ends = [
            accuracy(one(gnn, "ladder", ladder=name, epochs=pair["epochs"]))
            for name in ("GCN", "GAT")
        ]
        what = f"GCN, GAT: accuracy (%), random splits, {pair['epochs']} epochs"
        rows.append([what, *ends, points(pair, "difference")])
    for data, epochs in datasets(unet).items():
        ends = [
            score(one(unet, "score", dataset=data, variant=name))
            for name in ("without-skips", "with-skips")
        ]
        lead = difference(one(unet, "lead", dataset=data, over="without-skips"), "lead", 3)
        rows.append([f"U-Net without, with skips: mIoU, {data}, {epochs} epochs", *ends, lead])
    return ["what", "first", "second", "difference [95 %]"], rows


# --- sentences -------------------------------------------------------------------------------


def listed(items: list[str]) -> str:
    """Items as English lists them: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


def lead(lines: list[Result], pair: str) -> list[str]:
    """A difference of accuracies in points, after the shortest and the longest training."""
    wanted = {"pair": pair, "split": "random140"}
    return [
        f"{number(line['difference'], scale=100, sign='+')} after {line['epochs']} epochs"
        for line in span(lines, "pair", **wanted)
    ]


def finding_gnn(lines: list[Result]) -> str:
    """What was found for 3.6, in one sentence."""
    return (
        "On random splits of Cora, GAT's accuracy minus GCN's is, in points, "
        f"{listed(lead(lines, 'GAT-GCN'))}; what learned attention adds to equal weights is "
        f"{listed(lead(lines, 'GAT-equal_weights'))}."
    )


def finding_unet(lines: list[Result]) -> str:
    """What was found for 4.2, in one sentence."""
    texts = []
    for data in datasets(lines):
        first = one(lines, "gain", dataset=data, epochs="5")  # as in the notebook's answer
        last = select(lines, "gain", dataset=data)[-1]
        texts.append(
            f"{number(first['lead'], 3, sign='+')} after {first['epochs']} epochs and "
            f"{number(last['lead'], 3, sign='+')} after {last['epochs']} on {data}"
        )
    return f"What skip connections add to the U-Net's test mIoU is {'; '.join(texts)}."


def plateau(doubled: list[Result]) -> str:
    """What training twice as long changes, in one sentence; empty if it was never tried."""
    texts = []
    for line in select(doubled, "plateau"):
        end, half = (number(line[key], 3, sign="+") for key in ("lead", "lead_usual"))
        where = f"{line['dataset']} after {line['epochs']} epochs"
        texts.append(f"{end} on {where} ({half} halfway, {line['seeds']} seeds)")
    return f"Trained twice as long, the skips lead by {listed(texts)}." if texts else ""


def a2_rule(lines: list[Result]) -> str:
    """What Assignment 2's score makes of the networks, in a sentence; empty without flowers."""
    found = select(lines, "a2", variant="with-skips")
    if not found:
        return ""
    score, outline = (number(found[0][key], 2) for key in ("score", "outline"))
    return (
        f"By Assignment 2's rule, which counts the unlabelled band as background, the network "
        f"with skips scores {score} and a perfect outline that fills the band {outline}."
    )


def step_sizes(lines: list[Result]) -> str:
    """GAT minus GCN with other step sizes, in one sentence."""
    texts = []
    for size in dict.fromkeys(line["lr_pair"] for line in select(lines, "lr_pair")):
        first, last = span(lines, "lr_pair", lr_pair=size)
        texts.append(
            f"{number(first['difference'], scale=100, sign='+')} and "
            f"{number(last['difference'], scale=100, sign='+')} with a step of {words(size)}"
        )
    return (
        f"After {first['epochs']} and {last['epochs']} epochs GAT minus GCN is "
        f"{listed(texts)} ({last['seeds']} splits)."
    )


def facts(gnn: list[Result], unet: list[Result], doubled: list[Result]) -> dict[str, str]:
    """Words and sentences for captions and text, by name."""
    chosen = [
        f"{MODELS.get(line['chosen'], line['chosen'])}: {line['hidden']} wide, dropout "
        f"{words(line['dropout'])}, step {words(line['lr'])}"
        for line in select(gnn, "chosen")
    ]
    runs = [
        f"{data}: {epochs} epochs, "
        f"{one(unet, 'score', dataset=data, variant='with-skips')['seeds']} seeds"
        for data, epochs in datasets(unet).items()
    ]
    entropy = one(gnn, "entropy")
    return {
        "finding-gnn": finding_gnn(gnn),
        "finding-unet": finding_unet(unet),
        "gnn-seeds": select(gnn, "ladder", ladder="ELU")[0]["seeds"],
        "gnn-public-seeds": select(gnn, "public")[0]["seeds"],
        "gnn-chosen": "; ".join(chosen),
        "gnn-step-sizes": step_sizes(gnn),
        "gnn-comparisons": one(gnn, "comparisons")["comparisons"],
        "gnn-entropy": number(entropy["mean"], 3),
        "gnn-uniform": number(entropy["above_99"], 0, 100),
        "unet-runs": "; ".join(runs),
        "plateau": plateau(doubled),
        "a2": a2_rule(unet),
    }
