"""Draw the figures of Questions 1 and 2 as PDF: ``python figures.py FOLDER``.

What is drawn comes from ``claims.py``, the functions that the tests check. Seeds are fixed.
"""

import math
import sys
from pathlib import Path

import claims
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import NullFormatter
from torch.utils.flop_counter import FlopCounterMode

SIZE = (6.3, 2.3)  # inches; the text is 6.4 in wide
BOUND = {"color": "black", "lw": 1.1}
LOOSE = {"color": "black", "lw": 1.0, "ls": "--"}
MEASURED = {"color": "tab:blue", "ls": "none", "marker": "o", "ms": 4}
OTHER = {"color": "tab:orange", "ls": "none", "marker": "s", "ms": 6, "mfc": "none"}


def multiplications(function, *arrays):
    """Return the multiplications in the matrix products that a call of `function` does."""
    with FlopCounterMode(display=False) as counter:
        function(*(torch.as_tensor(array) for array in arrays))
    return counter.get_total_flops() // 2  # a multiplication and an addition count as two


def random_rnn(d, rng):
    """Return W with largest singular value 1/4, and x_1."""
    W = rng.standard_normal((d, d))
    scale = claims.CONSTANT["LargestSingularValue"] * np.linalg.norm(W, 2)
    return W / scale, rng.standard_normal(d)


def convolution_error(n, X, P, rng, draws=50):
    """Return the largest error of the convolution layer over random and extreme inputs."""
    layer, errors = claims.convolution_layer(P), []
    extreme = np.full(n, X)
    extreme[[n // 2 - 1, n // 2 + 1]] = 0
    for x in [extreme, X - extreme, *rng.uniform(0, X, (draws, n))]:
        errors.append(abs(layer(x)[1:-1] - claims.convolution(x)).max())
    return max(errors)


def max_pool_inputs(n, k, beta, x_min, X, rng, draws=50):
    """Return sequences in [x_min, X], among them those that are worst inside the window."""
    inputs = list(rng.uniform(x_min, X, (draws, n)))
    gap = (1 + claims.max_pool_window_bound(k, 1, 1)) / (beta * x_min)
    if x_min + gap <= X:
        worst = np.full(n, x_min)
        worst[n // 2] += gap
        inputs.append(worst)
    outside = np.full(n, x_min)
    outside[0] = X
    inputs.append(outside)
    return inputs


def max_pool_error(k, beta, P, inputs):
    """Return the largest error of the max-pooling layer over the inputs."""
    layer = claims.max_pool_layer(k, beta, P)
    centre = slice(k, -k or None)
    return max(abs(layer(x)[centre] - claims.max_pool(x, k)).max() for x in inputs)


def draw_rnn_jacobian(rng):
    """Largest singular value of the Jacobian against (1/16)^(n-1)."""
    steps = np.arange(1, 11)

    def largest(W, x_1):
        return [np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2) for n in steps]

    figure, axis = plt.subplots(figsize=(4.2, 2.2))
    for index in range(30):
        label = "random $W$, $x_1$" if index == 0 else None
        axis.plot(steps, largest(*random_rnn(8, rng)), color="0.65", lw=0.6, label=label)
    bounds = [claims.rnn_bound(n) for n in steps]
    axis.plot(steps, bounds, label="bound $(1/16)^{n-1}$", **BOUND)
    axis.plot(steps, largest(*claims.rnn_extremal(8)), label="extremal $W$", **MEASURED)
    axis.set(yscale="log", xlabel="$n$", ylabel=r"$\sigma_{\max}(\partial x_n/\partial x_1)$")
    axis.legend()
    return figure


def draw_linear_attention(rng):
    """Counted multiplications against n, and the error of random features against m."""
    figure, (cost, error) = plt.subplots(1, 2, figsize=SIZE)

    d, m = 16, 32
    lengths = 2 ** np.arange(6, 13)
    counts = {"linear": [], "quadratic": []}
    for n in lengths:
        phi, V = np.zeros((n, m)) + 1, np.zeros((n, d))
        counts["linear"].append(multiplications(claims.linear_attention, phi, phi, V))
        counts["quadratic"].append(
            multiplications(
                lambda Q, K, V: claims.kernel_attention(Q @ K.T, V), V + 1, V + 1, V
            )
        )
    cost.plot(lengths, counts["quadratic"], label="quadratic form", **OTHER)
    cost.plot(lengths, 2 * lengths.astype(float) ** 2 * d, label="$2n^2d$", **LOOSE)
    cost.plot(lengths, counts["linear"], label="linear form", **MEASURED)
    formula = [claims.linear_attention_products(int(n), m, d) for n in lengths]
    cost.plot(lengths, formula, label="$2nmd+nm$", **BOUND)
    cost.set(xscale="log", yscale="log", xlabel="length $n$", ylabel="multiplications")
    cost.set_title(f"$d={d}$, $m={m}$", fontsize=9)
    cost.legend()

    features = 2 ** np.arange(2, 11)
    q, k = (0.5 * v / np.linalg.norm(v) for v in rng.standard_normal((2, d)))
    measured = []
    for m in features:
        estimates = np.array(
            [
                (
                    claims.positive_features(q[None], w) * claims.positive_features(k[None], w)
                ).sum()
                for w in rng.standard_normal((400, m, d))
            ]
        )
        measured.append(math.sqrt(((estimates / math.exp(q @ k) - 1) ** 2).mean()))
    error.plot(features, measured, label="400 draws each", **MEASURED)
    theory = [claims.positive_features_relative_error(q, k, m) for m in features]
    error.plot(features, theory, label="exact formula", **BOUND)
    error.set(xscale="log", yscale="log", xlabel="features $m$", ylabel="relative error")
    error.yaxis.set_minor_formatter(NullFormatter())
    error.set_title(r"$\exp(q^\top k)$ from positive random features", fontsize=9)
    error.legend()
    return figure


def draw_relative_attention(rng):
    """Errors of the convolution and of max-pooling against their bounds."""
    figure, (conv, pool) = plt.subplots(1, 2, figsize=SIZE)

    n, X = 32, 1.0
    penalties = np.linspace(0, 16, 17)
    conv.plot(
        penalties,
        [convolution_error(n, X, P, rng) for P in penalties],
        label="largest error",
        **MEASURED,
    )
    sharp = [claims.convolution_sharp_bound(n, X, P) for P in penalties]
    conv.plot(penalties, sharp, label=r"$3\varepsilon X/(3+\varepsilon)$", **BOUND)
    simple = [claims.convolution_bound(n, X, P) for P in penalties]
    conv.plot(penalties, simple, label=r"$(n-2)Xe^{-P}$", **LOOSE)
    conv.set(yscale="log", xlabel="penalty $P$", ylabel=r"$|y_i-c_i|$")
    conv.set_title(f"convolution, $n={n}$, $X=1$", fontsize=9)
    conv.legend()

    k, x_min, P_fixed = 2, 0.5, 30.0
    betas = np.geomspace(4, 2000, 19)
    chosen, fixed, simple, sharp = [], [], [], []
    for beta in betas:
        inputs = max_pool_inputs(n, k, beta, x_min, X, rng)
        sharp.append(claims.max_pool_window_bound(k, beta, x_min))
        simple.append(claims.max_pool_simple_bound(k, beta, x_min))
        _, P = claims.max_pool_parameters(n, k, x_min, X, 2 * sharp[-1])
        chosen.append(max_pool_error(k, beta, P, inputs))
        fixed.append(max_pool_error(k, beta, P_fixed, inputs))
    pool.plot(betas, fixed, label=f"error, $P={P_fixed:.0f}$", **OTHER)
    pool.plot(betas, chosen, label="error, $P$ as chosen", **MEASURED)
    pool.plot(betas, sharp, label=r"$\omega_k/(\beta x_{\min})$", **BOUND)
    pool.plot(betas, simple, label=r"$2k/(e\beta x_{\min})$", **LOOSE)
    pool.set(xscale="log", yscale="log", xlabel=r"$\beta$", ylabel="$|y_i-M_i|$")
    pool.set_title(f"max-pooling, $k={k}$, " r"$x_{\min}=\frac{1}{2}$", fontsize=9)
    pool.legend()
    return figure


def draw_almost_orthogonal(rng):
    """Largest inner product against n, and the failure of the hint's epsilon."""
    figure, (growth, hint) = plt.subplots(1, 2, figsize=SIZE)

    N = 500
    dimensions = 2 ** np.arange(5, 13)
    measured = []
    for n in dimensions:
        U = claims.unit_columns(rng.standard_normal((n, N)))
        measured.append(abs(claims.inner_products(U)).max())
    smooth = np.geomspace(dimensions[0], dimensions[-1], 200)
    epsilon = np.sqrt(claims.CONSTANT["JLConstant"] * math.log(N + 1) / smooth)
    epsilon[epsilon >= 1 / 3] = np.nan
    signs = np.sqrt(claims.CONSTANT["SignVectorsConstant"] * math.log(N) / smooth)
    signs[signs >= 1] = np.nan
    growth.plot(dimensions, measured, label="measured", **MEASURED)
    growth.plot(smooth, 2 * epsilon / (1 - epsilon), label="by the lemma", **BOUND)
    growth.plot(smooth, signs, label="by random signs", **LOOSE)
    growth.set(
        xscale="log", yscale="log", xlabel="dimension $n$", ylabel=r"$\max|u_i^\top u_j|$"
    )
    growth.set_title(f"$N={N}$ vectors", fontsize=9)
    growth.legend()

    n, points = 20, []
    while len(points) < 4000:
        M = claims.jl_map(n, 2, 0.25, rng)
        epsilon = claims.distortion(M)
        if epsilon < 1 / 3:
            points.append((epsilon, abs(claims.inner_products(claims.unit_columns(M))[0])))
    epsilon, cosine = np.array(points).T
    fails = cosine > 2 * epsilon
    hint.plot(
        epsilon[~fails],
        cosine[~fails],
        ".",
        color="0.7",
        ms=2,
        label="within the hint",
        rasterized=True,
    )
    hint.plot(epsilon[fails], cosine[fails], label="above the hint", **{**MEASURED, "ms": 3.5})
    line = np.linspace(0, 0.333, 100)
    hint.plot(line, 2 * line, label=r"hint, $2\epsilon$", **LOOSE)
    hint.plot(line, 2 * line / (1 - line), label=r"$2\epsilon/(1-\epsilon)$", **BOUND)
    hint.set(xlabel=r"distortion $\epsilon$", ylabel=r"$|u_1^\top u_2|$", ylim=(0, 1))
    hint.set_title(f"Gaussian maps to $n={n}$ dimensions", fontsize=9)
    hint.legend()
    return figure


FIGURES = {
    "rnn-jacobian": draw_rnn_jacobian,
    "linear-attention": draw_linear_attention,
    "relative-attention": draw_relative_attention,
    "almost-orthogonal": draw_almost_orthogonal,
}


def main(folder: Path) -> None:
    """Write every figure into `folder`, the same bytes on every run."""
    mpl.use("Agg")
    style = {"pdf.fonttype": 42, "font.size": 8, "legend.fontsize": 7, "legend.frameon": False}
    mpl.rcParams.update(style | {"axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        figure = draw(np.random.default_rng(413))
        figure.tight_layout()
        figure.savefig(folder / f"{name}.pdf", dpi=200, metadata={"CreationDate": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
