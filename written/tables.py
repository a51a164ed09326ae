"""What report and README say in numbers: tables and sentences made from RESULT lines."""

import re
from functools import partial

from latex import Table
from notebooks import Result, one, select

VARIANTS = {
    "with-skips": "with skips",
    "without-skips": "without skips",
    "equal-size": "equal size",
}

EARLY = 5  # epochs of a short training, as in the notebook's answer to 4.2

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
}
MODELS = {
    "equal_weights": "GAT, equal weights",
    "GAT-GCN": "GAT − GCN",
    "GAT-equal_weights": "GAT − GAT, equal weights",
}


def number(value: str | float, digits: int = 1, scale: float = 1, sign: str = "") -> str:
    """A number with its digits, a true minus sign and, with ``sign="+"``, always a sign."""
    return f"{scale * float(value):{sign}.{digits}f}".replace("-", "−")


def interval(line: Result, digits: int = 1, scale: float = 1, kind: str = "ci") -> str:
    """The interval of a line, as ``[0.8, 1.6]``: its keys ``ci_low`` and ``ci_high``."""
    low, high = (number(line[f"{kind}_{end}"], digits, scale) for end in ("low", "high"))
    return f"[{low}, {high}]"


def difference(line: Result, key: str, digits: int = 1, scale: float = 1) -> str:
    """A difference and its interval, as ``+1.2 [0.8, 1.6]``, or how few the seeds were."""
    value = number(line[key], digits, scale, "+")
    if "ci_low" not in line:
        return f"{value} ({line['seeds']} seeds)"
    return f"{value} {interval(line, digits, scale)}"


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
    """Accuracies and differences on the public split, at the best and at the last epoch."""
    gain = partial(points, key="difference")
    wanted = [("public", name, accuracy) for name in ("GCN", "equal_weights", "GAT")]
    wanted += [("public_pair", pair, gain) for pair in ("GAT-GCN", "GAT-equal_weights")]
    rows = []
    for setting, head in (("equal", "{}"), ("paper", "{}, papers' settings")):
        rows += [[]] if rows else []
        for kind, name, show in wanted:
            where = {kind: name, "setting": setting}
            found = [select(lines, kind, **where, epoch=epoch) for epoch in ("best", "last")]
            if all(found):
                rows.append([head.format(MODELS.get(name, name)), *(show(x[0]) for x in found)])
    return ["", "best epoch", "last epoch"], rows


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
    early = [one(lines, "gain", dataset=d, epochs=EARLY) for d in datasets(lines)]
    cells = [difference(line, "lead", 3) for line in early]
    rows.append([f"with skips − without skips, after {EARLY} epochs", *cells])
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


def by_length(found: list[Result], key: str) -> str:
    """Differences of accuracies in points, each with its length of training."""
    texts = [f"{number(x[key], scale=100, sign='+')} after {x['epochs']} epochs" for x in found]
    return listed(texts)


def lead(lines: list[Result]) -> str:
    """GAT minus GCN in points, after the shortest and the longest training."""
    return by_length(span(lines, "pair", pair="GAT-GCN", split="random140"), "difference")


def finding_gnn(lines: list[Result]) -> str:
    """What was found for 3.6, in one sentence."""
    steps = [x for x in select(lines, "ladder", ladder="GAT") if "step" in x]
    attention = by_length([steps[0], steps[-1]], "step")
    return (
        f"On random splits of Cora, GAT's accuracy minus GCN's is, in points, {lead(lines)}; "
        f"what learned attention adds to equal weights is {attention}."
    )


def finding_unet(lines: list[Result]) -> str:
    """What was found for 4.2, in one sentence."""
    texts = []
    for data in datasets(lines):
        first = one(lines, "gain", dataset=data, epochs=EARLY)
        last = select(lines, "gain", dataset=data)[-1]
        texts.append(
            f"{number(first['lead'], 3, sign='+')} after {first['epochs']} epochs and "
            f"{number(last['lead'], 3, sign='+')} after {last['epochs']} on {data}"
        )
    return f"What skip connections add to the U-Net's test mIoU is {'; '.join(texts)}."


def plateau(doubled: list[Result]) -> str:
    """What training twice as long changes, in one sentence; empty if it was never tried."""
    texts, falling = [], []
    for line in select(doubled, "plateau"):
        data, epochs = line["dataset"], int(line["epochs"])
        found = [one(doubled, "gain", dataset=data, epochs=n) for n in (epochs, epochs // 2)]
        end, half = (difference(x, "lead", 3) for x in found)
        texts.append(f"{end} on {data} after {epochs} epochs (halfway {half})")
        if float(line["lead"]) < 0.9 * float(line["lead_usual"]):
            falling.append(data)
    if not texts:
        return ""
    more = f": on {listed(falling)} the lead may still be shrinking" if falling else ""
    first = f"In a second run, of {line['seeds']} seeds and twice the length, the skips lead by"
    return f"{first} {listed(texts)}{more}."


def resampled(lines: list[Result]) -> str:
    """The intervals of the skips' lead when the test images are drawn anew."""
    found = {d: one(lines, "lead", dataset=d, over="without-skips") for d in datasets(lines)}
    return listed([f"{interval(x, 3, kind='boot')} for {data}" for data, x in found.items()])


def far(lines: list[Result]) -> str:
    """The share of wrong pixels far from contours, with skips and without."""
    texts = []
    for data in datasets(lines):
        ends = [one(lines, "far", dataset=data, variant=name) for name in [*VARIANTS][:2]]
        shares = [number(line["far_error"], 2, 100) for line in ends]
        texts.append(f"{listed(shares)} % on {data}")
    return listed(texts)


def a2_rule(lines: list[Result]) -> str:
    """What Assignment 2's score makes of the networks, in a sentence; empty without flowers."""
    found = select(lines, "a2", variant="with-skips")
    if not found:
        return ""
    score, outline = (number(found[0][key], 2) for key in ("score", "outline"))
    return (
        f"By Assignment 2's rule, which counts the unlabelled band as background, the network "
        f"with skips scores {score} and a perfect outline that fills the band {outline}: it "
        "measures the convention."
    )


def step_sizes(lines: list[Result]) -> str:
    """GAT minus GCN with other step sizes, in one sentence."""
    texts = []
    for size in dict.fromkeys(line["lr_pair"] for line in select(lines, "lr_pair")):
        first, last = found = span(lines, "lr_pair", lr_pair=size)
        both = listed([points(line, "difference") for line in found])
        texts.append(f"{both} with a step of {words(size)}")
    return (
        f"After {first['epochs']} and {last['epochs']} epochs GAT minus GCN is "
        f"{listed(texts)} ({last['seeds']} splits)."
    )


def public_leads(lines: list[Result]) -> str:
    """What the graph, and GAT over GCN, are worth on the public split, in two sentences."""
    equal, papers, graph = (
        points(
            one(lines, "public_pair", public_pair=pair, setting=terms, epoch="best"),
            "difference",
        )
        for pair, terms in (("GAT-GCN", "equal"), ("GAT-GCN", "paper"), ("GCN-MLP", "equal"))
    )
    mlp = accuracy(one(lines, "public", public="MLP", setting="equal", epoch="best"))
    return (
        f"There, at the best epoch, GAT minus GCN is {equal} on equal terms and {papers} with "
        f"the papers' settings. Without the graph the network (MLP) reaches "
        f"{mlp} %, GCN leads by {graph}."
    )


def commonest(lines: list[Result]) -> str:
    """What a bias learns first, in one sentence."""
    first, second = found = select(lines, "commonest_class")
    shares = [number(line["share"], 0, 100) for line in found]
    return (
        f"After {first['epochs']} epochs GCN puts {shares[0]} % of the papers into the "
        "commonest class of the training papers, without its bias "
        f"{shares[1]} % ({second['seeds']} splits)."
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
    entropy, *of_course = select(gnn, "entropy")
    return {
        "finding-gnn": finding_gnn(gnn),
        "finding-unet": finding_unet(unet),
        "gnn-seeds": select(gnn, "ladder", ladder="ELU")[0]["seeds"],
        "gnn-public-seeds": select(gnn, "public")[0]["seeds"],
        "gnn-chosen": "; ".join(chosen),
        "gnn-step-sizes": step_sizes(gnn),
        "gnn-commonest": commonest(gnn),
        "gnn-public": public_leads(gnn),
        "gnn-comparisons": one(gnn, "comparisons")["comparisons"],
        "gnn-entropy": number(entropy["mean"], 3),
        "gnn-entropy-course": listed([number(line["mean"], 3) for line in of_course]),
        "gnn-uniform": number(entropy["above_99"], 0, 100),
        "unet-runs": "; ".join(runs),
        "unet-width": select(unet, "model")[0]["width"],
        "unet-equal-seeds": select(unet, "score", variant="equal-size")[0]["seeds"],
        "unet-far": far(unet),
        "unet-resampled": resampled(unet),
        "plateau": plateau(doubled),
        "a2": a2_rule(unet),
    }
