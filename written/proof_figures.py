"""Draw the figures of Questions 1 and 2: ``python proof_figures.py FOLDER``.

What is drawn comes from ``claims.py``, the functions that the tests check. Seeds are fixed.
"""

import sys
from pathlib import Path

import claims
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

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
BOUND = {"color": "black", "lw": 1.1}
BLUE = {"color": "#0072B2", "ls": "none", "marker": "o"}
ORANGE = {"color": "#D55E00", "ls": "none", "marker": "s", "mfc": "none"}
GREEN = {"color": "#009E73", "ls": "none", "marker": "^"}


def random_rnn(d, rng):
    """Return W with largest singular value 1/4, and x_1."""
    W = rng.standard_normal((d, d))
    return W / (4 * np.linalg.norm(W, 2)), rng.standard_normal(d)


def convolution_inputs(n, x_max, rng, draws=50):
    """Return sequences in [0, x_max], with the two that have the largest error."""
    worst = np.full(n, x_max)
    worst[[n // 2 - 1, n // 2 + 1]] = 0
    return [worst, x_max - worst, *rng.uniform(0, x_max, (draws, n))]


def convolution_error(B, inputs):
    """Return the largest error of the convolution layer over the inputs."""
    layer = claims.convolution_layer(B)
    return max(abs(layer(x)[1:-1] - claims.convolution(x)).max() for x in inputs)


def max_pool_inputs(n, k, beta, x_min, x_max, rng, draws=50):
    """Return sequences in [x_min, x_max], with a near tie and the worst leak among them."""
    tie = np.full(n, x_min)
    tie[n // 2] = min(x_max, x_min + 1 / (beta * x_min))
    leak = np.full(n, x_max)
    leak[n // 2 - k : n // 2 + k + 1] = x_min
    leak[n // 2] = max(x_min, x_max / 2)
    return [tie, leak, *rng.uniform(x_min, x_max, (draws, n))]


def max_pool_error(k, beta, B, inputs):
    """Return the largest error of the max-pooling layer over the inputs."""
    layer = claims.max_pool_layer(k, beta, B)
    errors = []
    for x in inputs:
        y = layer(x)[k : len(x) - k]  # the full windows
        errors.append(abs(y - claims.max_pool(x, k)).max())
    return max(errors)


def draw_gradients(rng):
    """Gradients of the ReLU chain and of the RNN against depth."""
    figure, (chain, rnn) = plt.subplots(1, 2, figsize=(6.5, 2.2))

    depths = np.arange(1, 21)
    labels = {
        "explodes": (r"all $w_i=2$", ORANGE),
        "does neither": (r"$2$ and $\frac{1}{2}$ in turn", GREEN),
        "vanishes": (r"all $w_i=\frac{1}{2}$", BLUE),
    }
    for name, (label, style) in labels.items():
        w = claims.EXAMPLES[name] * 20
        chain.plot(depths, [claims.relu_chain_bound(w[:n]) for n in depths], **BOUND)
        gradients = [claims.relu_chain_gradient(1.0, w[:n]) for n in depths]
        chain.plot(depths, gradients, label=label, **style)
    chain.set(yscale="log", xlabel="layers $n$", ylabel=r"$|\partial f/\partial x|$")
    chain.set_xticks([1, 5, 10, 15, 20])
    chain.set_title("ReLU chain: weights matter")
    chain.set_ylim(top=1e12)
    chain.legend(loc="upper left")

    d, steps = 8, np.arange(1, 11)

    def largest(W, x_1):
        return [np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2) for n in steps]

    for draw in range(30):
        label = "random $W$, $x_1$" if draw == 0 else None
        rnn.plot(steps, largest(*random_rnn(d, rng)), color="0.65", lw=0.6, label=label)
    bounds = [claims.rnn_bound(n) for n in steps]
    rnn.plot(steps, bounds, label="bound $(1/16)^{n-1}$", **BOUND)
    rnn.plot(steps, largest(*claims.rnn_extremal(d)), label="attains the bound", **BLUE)
    rnn.set(yscale="log", xlabel="$n$", ylabel=r"$\sigma_{\max}(\partial x_n/\partial x_1)$")
    rnn.set_title("RNN: the gradient vanishes")
    rnn.legend(loc="lower left")
    return figure


def draw_relative_attention(rng):
    """Errors of the convolution and of max pooling, and their bounds."""
    figure, (conv, pool) = plt.subplots(1, 2, figsize=(6.5, 2.4))
    n, x_max = 32, 1.0

    penalties = np.linspace(0, 16, 17)
    inputs = convolution_inputs(n, x_max, rng)
    errors = [convolution_error(B, inputs) for B in penalties]
    bounds = [claims.convolution_bound(n, x_max, B) for B in penalties]
    conv.plot(penalties, errors, label="largest error", **BLUE)
    conv.plot(penalties, bounds, label=r"bound $(n-2)\,x_{\max}\,\mathrm{e}^{-B}$", **BOUND)
    conv.set(yscale="log", xlabel="penalty $B$", ylabel="error")
    conv.set_title("Convolution")
    conv.legend()

    k, x_min, fixed = 2, 0.5, 30
    chosen, leaking = [], []
    wanted = np.geomspace(1, 0.001, 16)
    for eta in wanted:
        beta = claims.max_pool_beta(k, x_min, eta)
        inputs = max_pool_inputs(n, k, beta, x_min, x_max, rng)
        B = claims.max_pool_penalty(n, beta, x_max, eta)
        chosen.append(max_pool_error(k, beta, B, inputs))
        leaking.append(max_pool_error(k, beta, fixed, inputs))
    pool.plot(wanted, wanted, label=r"bound $\eta$", **BOUND)
    pool.plot(wanted, chosen, label="largest error, $B$ from the answer", **BLUE)
    pool.plot(wanted, leaking, label=f"largest error, $B={fixed}$", **ORANGE)
    pool.set(xscale="log", yscale="log", xlabel=r"tolerance $\eta$", ylabel="error")
    pool.invert_xaxis()
    pool.set_ylim(bottom=1e-5)
    pool.set_title("Max pooling")
    pool.legend(loc="lower left")
    return figure


FIGURES = {"gradients": draw_gradients, "relative-attention": draw_relative_attention}


def main(folder: Path) -> None:
    """Write every figure into `folder`, the same bytes on every run."""
    mpl.use("Agg")
    mpl.rcParams.update(STYLE)
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        figure = draw(np.random.default_rng(413))
        figure.tight_layout(pad=0.3, w_pad=1.5)
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
