"""Draw the figures and tables of Questions 1 and 2: ``python proof_figures.py FOLDER``.

What is drawn comes from ``claims.py``, the functions that the tests check. Seeds are fixed.
"""

import math
import sys
from pathlib import Path

import claims
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
SIZE = (6.5, 2.2)  # inches
BOUND = {"color": "black", "lw": 1.1}
OTHER_BOUND = {"color": "0.45", "lw": 1.3, "ls": "--"}
BLUE = {"color": "#0072B2", "ls": "none", "marker": "o"}
VERMILLION = {"color": "#D55E00", "ls": "none", "marker": "s", "mfc": "none"}
GREEN = {"color": "#009E73", "ls": "none", "marker": "^"}

RNN_WIDTH, RNN_DRAWS = 8, 30
WIDTH, FEATURES, FEATURE_DRAWS = 16, 32, 500
LENGTH, SEQUENCES, HALF_WINDOW, X_MIN, X_MAX, FIXED = 32, 50, 2, 0.5, 1.0, 30
VECTORS, PAIRS = 500, 3000
DRAWN = {  # what the captions say of the above
    "gradients": [f"$d={RNN_WIDTH}$", f"{RNN_DRAWS} draws of $W$"],
    "linear-attention": [f"$d={WIDTH}$ and $m={FEATURES}$", f"{FEATURE_DRAWS} draws"],
    "relative-attention": [
        f"{SEQUENCES} random sequences",
        f"$n={LENGTH}$ and $x_{{\\max}}={X_MAX:g}$",
        f"$k={HALF_WINDOW}$",
        rf"x_{{\min}}=\frac1{1 / X_MIN:.0f}$",
        f"$B={FIXED}$",
    ],
    "almost-orthogonal": [f"$N={VECTORS}$", f"{PAIRS} pairs"],
}


def random_rnn(d, rng):
    """Return W with largest singular value 1/4, and x_1."""
    W = rng.standard_normal((d, d))
    return W / (4 * np.linalg.norm(W, 2)), rng.standard_normal(d)


def convolution_error(n, x_max, B, rng, draws=SEQUENCES):
    """Return the largest error of the convolution layer over random and extreme inputs."""
    layer, errors = claims.convolution_layer(B), []
    extreme = np.full(n, x_max)
    extreme[[n // 2 - 1, n // 2 + 1]] = 0
    for x in [extreme, x_max - extreme, *rng.uniform(0, x_max, (draws, n))]:
        errors.append(abs(layer(x)[1:-1] - claims.convolution(x)).max())
    return max(errors)


def max_pool_inputs(n, k, beta, x_min, x_max, rng, draws=SEQUENCES):
    """Return sequences in [x_min, x_max], with those that are worst inside and outside."""
    inputs = list(rng.uniform(x_min, x_max, (draws, n)))
    gap = (1 + claims.omega(k)) / (beta * x_min)
    if x_min + gap <= x_max:
        inside = np.full(n, x_min)
        inside[n // 2] += gap
        inputs.append(inside)
    outside = np.full(n, x_max)
    outside[n // 2 - k : n // 2 + k + 1] = x_min
    outside[n // 2] = max(x_min, x_max / 2)
    return [*inputs, outside]


def max_pool_error(k, beta, B, inputs):
    """Return the largest error of the max-pooling layer over the inputs."""
    layer = claims.max_pool_layer(k, beta, B)
    centre = slice(k, -k or None)
    return max(abs(layer(x)[centre] - claims.max_pool(x, k)).max() for x in inputs)


def allowed_pairs(epsilon, rng):
    """Return |u_1 . u_2| of random pairs M_1, M_2 that the lemma allows, one per epsilon."""
    low, high = 1 - epsilon, 1 + epsilon
    first, second, half = rng.uniform(low, high, (3, len(epsilon)))
    return abs((first + second - 2 * half) / (2 * np.sqrt(first * second)))


def draw_gradients(rng):
    """Gradients of the ReLU chain and of the RNN against depth."""
    figure, (chain, rnn) = plt.subplots(1, 2, figsize=SIZE)
    depths = np.arange(1, 21)
    examples = {
        r"all $w_i=2$": ([2.0] * 20, VERMILLION),
        r"$2$ and $\frac{1}{2}$ in turn": ([2.0, 0.5] * 10, GREEN),
        r"all $w_i=\frac{1}{2}$": ([0.5] * 20, BLUE),
    }
    for label, (w, style) in examples.items():
        chain.plot(depths, [claims.relu_chain_bound(w[:n]) for n in depths], **BOUND)
        gradients = [claims.relu_chain_gradient(1.0, w[:n]) for n in depths]
        chain.plot(depths, gradients, label=label, **style)
    chain.set(yscale="log", xlabel="layers $n$", ylabel=r"$|\partial f/\partial x|$")
    chain.set_xticks([1, 5, 10, 15, 20])
    chain.set_title("ReLU chain: the weights decide")
    chain.set_ylim(top=1e12)
    chain.legend(loc="upper left")

    steps = np.arange(1, 11)

    def largest(W, x_1):
        return [np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2) for n in steps]

    for index in range(RNN_DRAWS):
        label = "random $W$, $x_1$" if index == 0 else None
        rnn.plot(steps, largest(*random_rnn(RNN_WIDTH, rng)), color="0.65", lw=0.6, label=label)
    bounds = [claims.rnn_bound(n) for n in steps]
    rnn.plot(steps, bounds, label="bound $(1/16)^{n-1}$", **BOUND)
    rnn.plot(steps, largest(*claims.rnn_extremal(RNN_WIDTH)), label="extremal pair", **BLUE)
    rnn.set(yscale="log", xlabel="$n$", ylabel=r"$\sigma_{\max}(\partial x_n/\partial x_1)$")
    rnn.set_title(r"RNN with $\sigma_{\max}(W)=1/4$: it vanishes")
    rnn.legend(loc="lower left")
    return figure


def draw_linear_attention(rng):
    """Counted multiplications against n, and the error of random features against m."""
    figure, (cost, error) = plt.subplots(1, 2, figsize=SIZE)

    d, m = WIDTH, FEATURES
    lengths = 2 ** np.arange(5, 12)
    linear, plain = [], []
    for n in lengths:
        phi, V = np.ones((n, m)), np.ones((n, d))
        linear.append(claims.count_operations(claims.linear_attention, phi, phi, V)[0])
        plain.append(
            claims.count_operations(
                lambda Q, K, V: claims.kernel_attention(Q @ K.T, V), V, V, V
            )[0]
        )
    cost.plot(lengths, plain, label="plain", **VERMILLION)
    cost.plot(
        lengths,
        [claims.quadratic_products(int(n), d) for n in lengths],
        label="$2n^2d$",
        **OTHER_BOUND,
    )
    cost.plot(lengths, linear, label="linear", **BLUE)
    formula = [claims.linear_attention_products(int(n), m, d) for n in lengths]
    cost.plot(lengths, formula, label="$2nmd+nm$", **BOUND)
    cost.set(xscale="log", yscale="log", xlabel="length $n$", ylabel="multiplications")
    cost.set_title("Kernel attention is linear in $n$")
    cost.set_ylim(top=1e10)
    cost.legend()

    features = 2 ** np.arange(2, 11)
    directions = rng.standard_normal((2, WIDTH))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    entries = {}  # of the legend: each mark on its line
    for norm, style, line in ((0.6, VERMILLION, OTHER_BOUND), (0.3, BLUE, BOUND)):
        q, k = norm * directions
        measured = []
        for m in features:
            estimates = [
                claims.positive_features(q[None], w) @ claims.positive_features(k[None], w).T
                for w in rng.standard_normal((FEATURE_DRAWS, m, WIDTH))
            ]
            relative = np.array(estimates) / math.exp(q @ k) - 1
            measured.append(math.sqrt((relative**2).mean()))
        theta = np.linalg.norm(q + k)
        theory = [claims.positive_features_error(theta, m) for m in features]
        marks = error.plot(features, measured, **style)
        lines = error.plot(features, theory, **line)
        entries[rf"$\|q\|=\|q'\|={norm}$, $\|\theta\|={theta:.2f}$"] = (*lines, *marks)
    error.set(xscale="log", yscale="log", xlabel="features $m$", ylabel="relative error")
    error.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    error.yaxis.set_minor_locator(NullLocator())
    error.set_title(r"Random features for $\exp(q^\top q')$")
    error.set_ylim(top=4)
    error.legend(entries.values(), entries.keys(), loc="upper right")
    return figure


def draw_relative_attention(rng):
    """Errors of the convolution and of max-pooling against their bounds."""
    figure, (conv, pool) = plt.subplots(1, 2, figsize=SIZE)

    n, x_max = LENGTH, X_MAX
    penalties = np.linspace(0, 16, 17)
    errors = [convolution_error(n, x_max, B, rng) for B in penalties]
    conv.plot(penalties, errors, label="largest error", **BLUE)
    sharp = [claims.convolution_sharp_bound(n, x_max, B) for B in penalties]
    conv.plot(penalties, sharp, label=r"$3\mu x_{\max}/(3+\mu)$", **BOUND)
    simple = [claims.convolution_bound(n, x_max, B) for B in penalties]
    conv.plot(penalties, simple, label=r"$(n-2)x_{\max}e^{-B}$", **OTHER_BOUND)
    conv.set(yscale="log", xlabel="penalty $B$", ylabel=r"$|y_i-\tau_i|$")
    conv.set_title("Convolution: ever more exact as $B$ grows")
    conv.legend()

    k, x_min = HALF_WINDOW, X_MIN
    leaking, chosen, bound, sharp = [], [], [], []
    betas = np.geomspace(3, 3000, 19)
    for beta in betas:
        inputs = max_pool_inputs(n, k, beta, x_min, x_max, rng)
        eta = 2 * claims.max_pool_window_bound(k, beta, x_min)
        B = claims.max_pool_penalty(n, beta, x_max, eta)
        leak = claims.max_pool_leak_bound(n, k, beta, x_max, B)
        bound.append(claims.max_pool_bound(k, beta, x_min, x_max, leak))
        sharp.append(claims.max_pool_sharp_bound(k, beta, x_min))
        chosen.append(max_pool_error(k, beta, B, inputs))
        leaking.append(max_pool_error(k, beta, FIXED, inputs))
    pool.plot(betas, leaking, label=f"error, $B={FIXED}$ fixed", **VERMILLION)
    pool.plot(betas, chosen, label="error, $B$ as chosen", **BLUE)
    pool.plot(betas, bound, label="its bound", **BOUND)
    pool.plot(betas, sharp, label=r"$\omega_k/(\beta x_{\min})$", **OTHER_BOUND)
    pool.set(xscale="log", yscale="log", xlabel=r"$\beta$", ylabel=r"$|y_i-\tau_i|$")
    pool.set_title(r"Max-pooling: $B$ must grow with $\beta$")
    pool.set_ylim(bottom=1e-8)
    pool.legend(loc="lower left")
    return figure


def draw_almost_orthogonal(rng):
    """Largest inner product against n, and what the lemma allows against epsilon."""
    figure, (growth, hint) = plt.subplots(1, 2, figsize=SIZE)

    N = VECTORS
    dimensions = 2 ** np.arange(5, 15)
    measured = []
    for n in dimensions:
        U = claims.unit_columns(claims.jl_map(n, N, rng))
        measured.append(abs(claims.inner_products(U)).max())
    smooth = np.geomspace(dimensions[0], dimensions[-1], 200)
    lemma = np.sqrt(72 * math.log(N + 1) / smooth)
    signs = np.sqrt(4 * math.log(N) / smooth)
    growth.plot(dimensions, measured, label="measured", **BLUE)
    growth.plot(smooth, np.where(lemma < 1, lemma, np.nan), label="by the lemma", **BOUND)
    growth.plot(smooth, np.where(signs < 1, signs, np.nan), label="by signs", **OTHER_BOUND)
    growth.set(xscale="log", yscale="log", xlabel="dimension $n$")
    growth.set_ylabel(r"$\max|u_i^\top u_j|$")
    growth.set_title(f"$N={N}$ vectors: better than the lemma")
    growth.legend()

    epsilon = rng.uniform(0, 1 / 3, PAIRS)
    dots = {"color": "0.6", "ms": 1.5, "rasterized": True, "label": "allowed pairs"}
    hint.plot(epsilon, allowed_pairs(epsilon, rng), ".", **dots)
    line = np.linspace(0.01, 1 / 3, 14)
    worst = [
        abs(claims.inner_products(claims.unit_columns(claims.worst_images(e)))[0]) for e in line
    ]
    hint.plot(line, 2 * line, label=r"hint, $\delta=2\epsilon$", **OTHER_BOUND)
    hint.plot(line, 3 * line, label=r"here, $\delta=3\epsilon$", **OTHER_BOUND | {"ls": ":"})
    hint.plot(line, claims.cosine_bound(line), label="bound", **BOUND)
    hint.plot(line, worst, label="worst pair", **BLUE)
    hint.set(xlabel=r"distortion $\epsilon$", ylabel=r"$|u_1^\top u_2|$", ylim=(0, 1.4))
    hint.set_title(r"$\epsilon=\delta/2$ is too large, $\delta/3$ is not")
    hint.legend(loc="upper left", ncols=2)
    return figure


FIGURES = {
    "gradients": draw_gradients,
    "linear-attention": draw_linear_attention,
    "relative-attention": draw_relative_attention,
    "almost-orthogonal": draw_almost_orthogonal,
}


def convolution_example(x=(1, 3, 2, 5, 4), B=10):
    """Return the worked example of 1.4.1 as a LaTeX table."""
    x = np.array(x, dtype=float)
    y, bound = claims.convolution_layer(B)(x), claims.convolution_bound(len(x), x.max(), B)
    rows = {
        "$x_i$": [f"{v:g}" for v in x],
        r"$\tau_i=2x_{i-1}+x_{i+1}$": ["", *(f"{v:g}" for v in claims.convolution(x)), ""],
        f"$y_i$ with $B={B}$": ["", *(f"{v:.4f}" for v in y[1:-1]), ""],
    }
    body = "".join(" & ".join([name, *cells]) + r"\\" + "\n" for name, cells in rows.items())
    return (
        rf"\begin{{tabular}}[c]{{@{{}}l{'r' * len(x)}@{{}}}}" + "\n\\toprule\n"
        f"{body}\\bottomrule\n\\end{{tabular}}\n\\qquad\n"
        rf"error at most $(n-2)\,x_{{\max}}\,\e^{{-B}}\approx{bound:.2g}$" + "\n"
    )


def main(folder: Path) -> None:
    """Write every figure and table into `folder`, the same bytes on every run."""
    mpl.use("Agg")
    mpl.rcParams.update(STYLE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "convolution-example.tex").write_text(convolution_example(), encoding="utf-8")
    for name, draw in FIGURES.items():
        figure = draw(np.random.default_rng(413))
        figure.tight_layout(pad=0.3, w_pad=1.5)
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
