r"""What Questions 1 and 2 print is what the other tests check.

Every ``\tested{name}{formula}`` of the text is evaluated at random points. It must be true and
have the given relations, and its last sides must be the given functions.
"""

import functools
import inspect
import math
import re

import claims
import numpy as np
import printed
import proof_figures
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from test_q1_relative_attention import random_layer, zero_query_error
from test_q2_johnson_lindenstrauss import greedy_sign_vectors


def from_one(sequence):
    """The sequence as a function of an index that begins at 1."""
    return lambda i: sequence[i - 1]


def columns(matrix):
    """The columns as a function of an index that begins at 1."""
    return lambda i: matrix[:, i - 1 : i]


def squared(vector):
    return float(np.sum(vector**2))


# --- points: the value of every symbol ------------------------------------------------------


def chain(rng, weights=None):
    """The chain at x > 0; some weights are negative if none are given."""
    if weights is None:
        weights = rng.choice([-1, 1, 1, 1], 6) * rng.uniform(0.5, 2, 6)
    n, x, i, j = len(weights), 0.7, int(rng.integers(1, 7)), int(rng.integers(0, 6))
    h, z = [x], []
    for w in weights:
        z.append(w * h[-1])
        h.append(max(z[-1], 0))
    gradient = claims.relu_chain_gradient(x, weights)
    values = {"n": n, "i": i, "j": j, "x": x, "weights": weights, "w": from_one(weights)}
    values |= {"z": from_one(z), "h": h.__getitem__, "s": from_one(np.heaviside(z, 0))}
    values |= {"gradient": gradient, "input_gradient": gradient, "derivative": gradient}
    return values | {"layer_gradient": claims.relu_chain_gradient(x, weights, j=j)}


def chain_of(*weights):
    return lambda rng: chain(rng, (weights * 6)[:6])


def rnn(rng, W=None, x_1=None):
    n = 4  # then the dots of the printed Jacobian stand for nothing
    if W is None:
        W, x_1 = proof_figures.random_rnn(3, rng)
    x, slopes = x_1, []
    for _ in range(n - 1):
        slopes.append(np.diag(expit(W @ x) * expit(-W @ x)))
        x = expit(W @ x)
    values = {"n": n, "d": len(x_1), "W": W, "x_1": x_1[:, None], "Gamma": from_one(slopes)}
    values |= {"J": lambda n: claims.rnn_jacobian(W, x_1, n)}
    values |= {"jacobian": values["J"](n), "layer_jacobian": values["J"](2)}
    return values | {"smax": lambda matrix: np.linalg.norm(matrix, 2)}


def extremal_rnn(rng):
    W, x_1 = claims.rnn_extremal(3)
    v = W[:, :1] / np.linalg.norm(W[:, 0])
    return rnn(rng, W, x_1) | {"v": v, "e": columns(np.eye(3))}


def narrow_rnn(rng):
    return rnn(rng, np.array([[rng.choice([-0.25, 0.25])]]), rng.normal(size=1))


def kernel(rng):
    n, m, d = 5, 4, 3
    Q, K, V = rng.normal(size=(3, n, d))
    directions = rng.normal(size=(m, d))

    def phi(column):
        return np.exp(directions @ column)

    phi_Q, phi_K = phi(Q.T).T, phi(K.T).T
    similarity = phi_Q @ phi_K.T
    y = claims.kernel_attention(similarity, V)
    values = {"n": n, "m": m, "d": d, "i": 2, "phi": phi, "queries": Q, "keys": K}
    values |= {"Q": columns(Q.T), "K": columns(K.T), "V": columns(V.T), "y": columns(y.T)}
    values |= {"q": Q[:1].T, "q'": K[1:2].T, "similarity": lambda *pair: similarity[0, 1]}
    return values | {"S": phi_K.T @ V, "kappa": phi_K.sum(0)[:, None]}


def svd(rng):
    n, k, d = 6, 2, 3
    Q, K = rng.normal(size=(n, k)) @ rng.normal(size=(k, d)), rng.normal(size=(n, d))
    (G_Q, T_Q), (G_K, T_K) = np.linalg.qr(Q), np.linalg.qr(K)
    L_1, sigma, R_1 = np.linalg.svd(T_Q @ T_K.T)
    L_1, Sigma, R_1 = L_1[:, :k], np.diag(sigma[:k]), R_1[:k].T
    R = np.linalg.svd(Q @ K.T)[2][:k].T
    R = R * np.sign((R * (G_K @ R_1)).sum(0))  # the signs of singular vectors are free
    L = Q @ K.T @ R / sigma[:k]
    values = {"n": n, "k": k, "d": d, "P": Q @ K.T, "Q": Q, "K": K}
    values |= {"V": rng.normal(size=(n, d)), "L": L, "Sigma": Sigma, "R": R, "C": R.T, "D": R.T}
    return values | {"G_Q": G_Q, "T_Q": T_Q, "G_K": G_K, "T_K": T_K, "L_1": L_1, "R_1": R_1}


def layer_values(layer, x):
    """The symbols of any layer at the input x."""
    values = {"W_Q": layer.w_q, "W_K": layer.w_k, "W_V": layer.w_v, "n": len(x), "entries": x}
    return values | {"p": layer.p, "x": from_one(x), "y": from_one(layer(x))}


def relative(rng):
    layer, x = random_layer(rng, 7), rng.uniform(0, 2, 7)
    lags = np.arange(7)[:, None] - np.arange(7)
    alpha, pi = np.outer(layer.w_q * x, layer.w_k * x) + layer.p(lags), layer.weights(x)
    values = layer_values(layer, x) | {"i": 3, "j": 5, "pi": lambda i, j: pi[i - 1, j - 1]}
    return values | {"alpha": lambda i, j: alpha[i - 1, j - 1]}


def convolution(rng):
    n, i, x_max, eta = 8, int(rng.integers(2, 8)), rng.uniform(1, 3), rng.uniform(0.01, 1)
    B, x = claims.convolution_penalty(n, x_max, eta), rng.uniform(0, x_max, n)
    values = layer_values(claims.convolution_layer(B), x) | {"i": i, "x_max": x_max, "B": B}
    values |= {"eta": eta, "mu": (n - 2) * math.exp(-B)}
    return values | {"tau_i": claims.convolution(x)[i - 2]}


def convolution_example(rng):
    x = np.array([1.0, 3, 2, 5, 4])
    return {"entries": x, "y": from_one(claims.convolution_layer(10)(x).round(4))}


def one_signed_kernel(rng):
    i, x_max, B = int(rng.integers(2, 8)), rng.uniform(1, 3), rng.uniform(0, 9)
    w, x = rng.uniform(0.1, 3, 3), rng.uniform(0, x_max, 8)
    values = layer_values(claims.kernel_layer(w, B), x) | {"i": i, "x_max": x_max, "B": B}
    values |= {"omega": sum(w), "w": from_one(w)}
    return values | {"tau_i": w @ x[i - 2 : i + 1]}


def mixed_kernel(rng):
    a, layer, (first, last) = rng.uniform(0.1, 2), random_layer(rng, 8), rng.uniform(0.1, 2, 2)
    outputs = [layer(a * np.eye(8)[at])[3] for at in (2, 4)]  # x = a e_{i-1}, a e_{i+1}
    error = max(abs(outputs[0] - a * first), abs(outputs[1] + a * last))
    return {"a": a, "w_r": first, "w_s": -last, "y_i": error, "tau_i": 0}


def pooling_at(x, i, k, beta, B):
    layer = claims.max_pool_layer(k, beta, B)
    window, pi = slice(i - 1 - k, i + k), layer.weights(x)[i - 1]
    inside, tau_i = pi[window].sum(), x[window].max()
    values = layer_values(layer, x) | {"i": i, "k": k, "beta": beta, "B": B}
    values |= {"x_i": x[i - 1], "b": beta * x[i - 1], "tau_i": tau_i, "maximum": tau_i}
    values |= {"lambda_i": pi.sum() - inside, "y_in": pi[window] @ x[window] / inside}
    return values | {"g": from_one(tau_i - x)}


def pooling(rng):
    n, k, i = 12, int(rng.integers(1, 4)), int(rng.integers(4, 9))
    x_min, x_max, eta = rng.uniform(0.3, 0.6), rng.uniform(1, 2), rng.uniform(0.1, 1)
    beta = claims.max_pool_beta(k, x_min, eta)
    B = claims.max_pool_penalty(n, beta, x_max, eta)
    values = pooling_at(rng.uniform(x_min, x_max, n), i, k, beta, B)
    return values | {"x_min": x_min, "x_max": x_max, "eta": eta}


def gap(rng):
    x, gamma = rng.uniform(0, 0.9, 12), rng.uniform(0.1, 0.3)
    x[2:7] = [0.5, 0.9 - gamma, 0.6, 0.9, 0.1]
    return pooling_at(x, 5, 2, 9.0, 3.0) | {"gamma": gamma}


def tie(rng):
    k, beta, x_i = int(rng.integers(1, 4)), rng.uniform(1, 9), rng.uniform(0.3, 1)
    x = np.full(12, x_i)
    x[6] += 1 / (beta * x_i)
    return pooling_at(x, 6, k, beta, 5.0)


def leak(rng):
    """One entry outside competes: B is below its limit."""
    x, limit = np.array([0, 0, 0.4, 0.4, 0.4, 0.4, 0.4, 0, 0, 0.8]), 90 * 0.4 * (0.8 - 0.4)
    return pooling_at(x, 5, 2, 90.0, limit - 0.5) | {"j": 10, "x_max": 0.8}


def zero_query(rng):
    a = rng.uniform(0.1, 3)
    error = zero_query_error(random_layer(rng, 7), 3, 7, a)
    return {"a": a, "y_i": error, "tau_i": 0, "i": 1, "k": 1, "x": from_one([0])}


def lemma(rng):
    M = rng.standard_normal((900, 8)) / 30
    x = np.eye(8)
    return {"M": M, "epsilon": claims.distortion(M), "x": x[:, :1], "x'": x[:, 1:2]}


def images(rng):
    values = lemma(rng)
    M, delta = values["M"], 3 * values["epsilon"]
    unit = claims.unit_columns(M)
    return values | {"M": columns(M), "u": columns(unit), "delta": delta, "i": 1, "j": 2}


def parallel(rng):
    return {"delta": 1, "u": columns(np.ones((4, 2)) / 2), "i": 1, "j": 2}


def count(rng):
    n, delta = int(rng.integers(500, 2000)), rng.uniform(0.3, 0.9)
    c = n * delta**2 / math.log(3 * claims.vector_count_bound(n, delta))
    return {"n": n, "delta": delta, "size": max(1, claims.jl_vector_count(n, delta)), "c": c}


def hint(rng):
    delta = rng.uniform(0.1, 0.99)
    M = claims.worst_images(min(delta / 2, 1 / 3))
    values = {"M": columns(M), "u": columns(claims.unit_columns(M)), "delta": delta}
    return values | {"epsilon": claims.distortion(M)}


greedy_choice = functools.cache(greedy_sign_vectors)


def greedy(rng):
    n, delta = int(rng.integers(6, 10)), float(rng.choice([0.2, 0.25, 0.3]))
    U, k = greedy_choice(n, delta), claims.upper_power(n, delta)
    c = n * delta**2 / math.log(2 * claims.greedy_count_bound(n, delta))
    values = {"n": n, "delta": delta, "N": U.shape[1], "u": columns(U), "k": k, "c": c}
    return values | {"i": 1, "j": 2}


# --- statements: the point, the relations, functions for the last sides ---------------------


def at(point, **fixed):
    return lambda rng: point(rng) | fixed


def between(length, vector):
    """The sides (1 - epsilon) length, |vector|^2 and (1 + epsilon) length."""
    return (
        lambda epsilon: (1 - epsilon) * length,
        lambda M: squared(vector(M)),
        lambda epsilon: (1 + epsilon) * length,
    )


def smaller_cosine(delta):
    return claims.cosine_bound(claims.jl_epsilon(delta))


def both_errors(tau_i, y_in, lambda_i, x_max):
    return tau_i - y_in + lambda_i * x_max


TWO_BOUNDS = claims.convolution_bound, claims.convolution_bound
STATEMENTS = [
    ("chain-layer chain-relu chain-gradient chain-input", chain, "="),
    ("chain-bound", chain, "<= <=", lambda weights: claims.relu_chain_bound(weights)),
    ("layer-bound", chain, "<= <=", lambda weights, j: claims.relu_chain_bound(weights, j)),
    ("unit-bound", chain_of(1), "<= <=", lambda weights: claims.relu_chain_bound(weights)),
    ("unit-gradient", chain_of(1), "="),
    ("vanishing", chain_of(*claims.EXAMPLES["vanishes"]), "="),
    ("exploding", chain_of(*claims.EXAMPLES["explodes"]), "="),
    (
        "first-in-turn second-in-turn third-in-turn",
        chain_of(*claims.EXAMPLES["does neither"]),
        "=",
    ),
    ("chain-active", chain_of(0.6, 1.7, 1.1), "="),
    ("chain-inactive", chain_of(0.6, -1.7, 1.1), "="),
    ("rnn-input", rnn, "in"),
    ("rnn-weight rnn-jacobian", rnn, "="),
    ("rnn-layer", rnn, "<=", lambda: claims.rnn_bound(2)),
    ("rnn-bound", rnn, "<= <=", claims.rnn_bound),
    ("sharp-weight sharp-matrix sharp-vector sharp-start sharp-norm", extremal_rnn, "="),
    ("narrow-norm", narrow_rnn, "<", claims.rnn_bound),
    ("kernel linear-row", kernel, "="),
    ("linear-S linear-kappa", kernel, "= in"),
    ("kernel-positive", kernel, ">"),
    ("kernel-features", kernel, "", lambda queries, keys: len(queries) + len(keys)),
    ("kernel-products", kernel, "", claims.linear_attention_products),
    ("kernel-divisions", kernel, "", lambda n, d: np.ones((n, d)).size),
    ("svd-left svd-right svd-middle", svd, "in"),
    ("svd svd-products projection-product projection-svd", svd, "="),
    ("qr-queries qr-keys qr-svd qr-projection", svd, "="),
    ("svd-count", svd, "", claims.low_rank_products),
    ("projection-choice", svd, "= = in"),
    ("projection", svd, "= ="),
    ("projection-count", svd, "", claims.projected_products),
    ("relative-output relative-weight relative-score", relative, "="),
    ("conv-parameters", convolution, "= = = = ="),
    ("conv-others", at(convolution, l=0), "="),
    ("conv-answer", convolution, "<=", claims.convolution_bound),
    ("conv-penalty", convolution, "="),
    ("conv-bound", convolution, "<= <= =", claims.convolution_sharp_bound, *TWO_BOUNDS),
    ("conv-example", convolution_example, "="),
    ("conv-wanted", convolution_example, "", lambda entries: claims.convolution(entries)),
    ("kernel-target kernel-sum", one_signed_kernel, "="),
    ("kernel-content", one_signed_kernel, "= = ="),
    ("kernel-lag", at(one_signed_kernel, l=1), "="),
    ("kernel-penalty", at(one_signed_kernel, l=-2), "="),
    ("kernel-error", one_signed_kernel, "<=", claims.kernel_bound),
    ("mixed-signs", mixed_kernel, ">=", lambda a, w_r, w_s: min(a * w_r, -a * w_s)),
    ("pool-parameters", pooling, "= = ="),
    ("pool-inside", at(pooling, l=-1), "="),
    ("pool-outside", at(pooling, l=4), "="),
    ("pool-beta pool-penalty", pooling, "="),
    ("pool-answer", pooling, "<=", "eta"),
    ("pool-window", pooling, "<= = <=", claims.max_pool_window_bound),
    ("pool-leak", pooling, "<= <=", claims.max_pool_leak, claims.max_pool_leak_bound),
    ("pool-bound", pooling, "<= <= =", both_errors, "eta", "eta"),
    ("tie-gap", tie, "="),
    ("tie-loss", tie, "=", claims.tie_loss),
    ("gap-bound", gap, "<=", claims.gap_bound),
    ("leak-least", leak, ">=", lambda k: 1 / (2 * k + 2)),
    ("zero-query", zero_query, ">=", lambda a: a / 3),
    ("constant", count, "="),
    ("count", count, ">=", claims.vector_count_bound),
    ("answer-dot", images, "<=", "delta"),
    ("large-dot", parallel, "<=", "delta"),
    ("lemma", lemma, "<= <=", *between(2, lambda M: M[:, 0] - M[:, 1])),
    ("image-lengths", images, "<= <=", *between(1, lambda M: M(1))),
    ("image-distances", images, "<= <=", *between(2, lambda M: M(1) - M(2))),
    ("cosine", images, "= <= = <", claims.cosine_bound, smaller_cosine, "delta"),
    ("hint-epsilon hint-dot", hint, "="),
    ("hint-length", hint, "= ="),
    ("hint-cosine", hint, "= >"),
    ("greedy-constant upper-power", greedy, "="),
    ("greedy-count", greedy, ">=", claims.greedy_count_bound),
    ("greedy-dot upper-dot", greedy, "<=", "delta"),
    ("upper-count", greedy, "<=", claims.upper_count_bound),
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement[0])
def test_statement_is_true_and_has_the_tested_sides(statement):
    names, point, relations, *functions = statement
    rng = np.random.default_rng(len(names))
    for name in names.split() * 8:
        values, signs = point(rng), []
        for sides, chain_signs in printed.evaluate(printed.FORMULAS[name], values):
            assert printed.is_true(sides, chain_signs)
            signs += chain_signs
        assert " ".join(signs) == relations
        for side, function in zip(sides[-len(functions) :], functions, strict=False):
            assert_allclose(side, call(function, values), rtol=1e-9)


def call(function, values):
    """Call a function with the values of its parameters; a name stands for its value."""
    if isinstance(function, str):
        return values[function]
    parameters = inspect.signature(function).parameters
    return function(**{name: values[name] for name in parameters if name in values})


# --- orders of growth, and what is not tested -----------------------------------------------

ORDERS = {
    "kernel-order": (claims.linear_attention_products, "n"),
    "svd-order": (claims.low_rank_products, "nkd"),
    "projection-order": (claims.projected_products, "nkd"),
    "qr-order": (lambda n, d: n * d**2, "nd"),
    "count-order": (lambda n: claims.vector_count_bound(n, 0.005), "n"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_order_grows_like_the_count(name):
    cost, symbols = ORDERS[name]
    order = re.search(r"(?:\\mathcal O|\\Omega)\((.*)\)", printed.FORMULAS[name])[1]
    sizes = dict.fromkeys(inspect.signature(cost).parameters, 10_000)
    for symbol in symbols:
        values = [
            sizes | {"delta": 0.005, "c": 72} | {symbol: size} for size in (10_000, 20_000)
        ]
        small, large = (printed.evaluate(order, value)[0][0][0] for value in values)
        assert_allclose(
            large / small, cost(**sizes | {symbol: 20_000}) / cost(**sizes), rtol=1e-3
        )


# Definitions and conditions, two spaces apart. The tests of each question show that the
# conditions suffice.
UNTESTED = r"""
h_0=x\in\R  i=1,\dots,n  i=2,\dots,n  f(x)=h_n  0\le j<n  w=(w_1,w_2,w_3)  x,x'\in X
M_1,M_2\in\R^n  Q,K\in\R^{n\times d}  d=1  d\ge2  n\ge1  n\ge2  n\ge3  n\ge2k+1  k\ge0
k\ge1  2\le i\le n-1  k+1\le i\le n-k  i\ne j  u_i\ne u_j  x>0  x\ne0  x_i=0  w_i>0
w_1x>0  w_r\ge0  w_{2-l}>0  a>0  \abs{l}\le1  \abs{l}\le k  \abs{l}>k  \eta>0
x\in[0,x_{\max}]^n  x_i\ge x_{\min}  x_j=x_{\max}  0<x_{\min}\le x_{\max}  \beta x_i>0
B\le\beta x_i(x_{\max}-\tau_i)  0<\delta<1  \delta\ge1  \delta^2\le1/(4\e)
\epsilon=\delta/2
"""


def test_every_relation_of_an_answer_a_display_or_a_theorem_is_tested():
    allowed = re.split(r"\n|  ", UNTESTED.strip())
    assert printed.untested(printed.TEXT, allowed) == []
    assert printed.untested(r"\begin{answer}$\tested{a}{b<c}$, $d>e$\end{answer}")
    tested = " ".join(row[0] for row in STATEMENTS).split()
    assert sorted(printed.FORMULAS) == sorted([*tested, *ORDERS])


def test_a_formula_that_is_read_only_in_part_is_an_error():
    for formula in (r"2nmd+", r"(n", r"n^", r"n)", r"\sum_{j=1}"):
        with pytest.raises((ValueError, KeyError)):
            printed.evaluate(formula, {"n": 1, "m": 2, "d": 3})
