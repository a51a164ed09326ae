r"""What Questions 1 and 2 print is what the other tests check.

Each ``\tested{name}{formula}`` of the text is parsed and compared, part by part, with the
function of ``claims.py`` that the numeric tests use, at random points; its relations must be
those of the table below. Formulas of matrices have a table of their own.
"""

import inspect
import math
import re

import claims
import numpy as np
import printed
import proof_figures
import pytest
from numpy.testing import assert_allclose
from scipy.special import logit, softmax


def draw(rng, longest):
    """Return one random point: a value for every symbol of the formulas."""
    n, k = int(rng.integers(longest // 2, longest)), int(rng.integers(1, 5))
    latin, greek = "a b l r M_i M_j p_i-j x_i x_min B V", "beta chi eta lambda_i nu omega_k"
    symbols = f"{latin} {greek} sigma_max tau_i theta zeta"
    point = {symbol: rng.uniform(0.3, 2) for symbol in symbols.split()}
    point |= {"n": n, "k": k, "m": int(rng.integers(2, 9)), "d": int(rng.integers(3, 9))}
    point |= {"x_max": rng.uniform(2, 3), "delta": rng.uniform(0.1, 0.9), "j": 3}
    point |= {"epsilon": rng.uniform(0.05, 0.3), "points": int(rng.integers(2, 99))}
    point |= {"W_Q": rng.normal(), "W_K": rng.normal(), "x_j": rng.normal()}
    point |= {"x": rng.uniform(0, 2, n), "w": rng.normal(size=n), "s": rng.uniform(0, 1, n)}
    point |= {
        "sigma": np.sort(rng.uniform(0, 1, n))[::-1],
        "i": 5,
        "N": int(rng.integers(2, 99)),
    }
    point |= {symbol: rng.normal(size=n) for symbol in ("h", "z", "gamma")}
    point |= {symbol: rng.uniform(0, 1, n) for symbol in ("g", "psi", "rho")}
    point |= {"W_V": rng.normal(), "upsilon": rng.uniform(0.1, 0.9), "c": rng.uniform(4, 72)}
    point["X"], point["H"], point["mu"] = point["points"], rng.uniform(1, 9), rng.uniform(0, 1)
    return point


def given(value):
    """A number that the handout gives or that the text states, not a function of anything."""
    return lambda: value


# By name: the relations that are printed and the functions for what stands between them.
CLAIMS = {
    # 1.1
    "chain-step": [lambda w, h, i: w[i - 1] * h[i - 2]],
    "relu": [lambda z, i: claims.relu_chain(z[i - 1], [1])],
    "unit-gradient": [lambda n: claims.relu_chain_gradient(1, [1.0] * n)],
    "vanishing-weight": ["=", given(0.5)],
    "exploding-weight": ["=", given(2)],
    "first-in-turn": [given(2)],
    "second-in-turn": [given(0.5)],
    "halves-weight": ["=", given(0.5)],
    "twos-weight": ["=", given(2)],
    "slow-limit": [
        lambda: claims.relu_chain_gradient(1, [math.exp(-(2.0**-i)) for i in range(1, 60)])
    ],
    "dead-second": ["=", given(-1)],
    "dead-others": ["=", given(2)],
    "dead": [lambda n: claims.relu_chain_gradient(1, [2, -1] + [2] * (n - 2))],
    "chain-gradient": [
        lambda w, s, j: math.prod(a * b for a, b in zip(w[j:], s[j:], strict=True))
    ],
    "chain-unit-bound": ["<=", lambda n: claims.relu_chain_bound([1.0] * n)],
    "chain-bound": ["<=", lambda w: claims.relu_chain_bound(w)],
    "chain-layer-bound": ["<=", claims.relu_chain_bound],
    "halves": [lambda n: claims.relu_chain_gradient(1, [0.5] * n)],
    "halves-bound": [lambda n: claims.relu_chain_bound([0.5] * n)],
    "twos": [lambda n: claims.relu_chain_gradient(1, [2] * n)],
    "twos-bound": [lambda n: claims.relu_chain_bound([2] * n)],
    "slowly-to-one": [
        lambda n: claims.relu_chain_gradient(1, [math.exp(-(2.0**-i)) for i in range(1, n + 1)])
    ],
    "slow-weight": ["=", lambda i: math.exp(-(2.0**-i))],
    "dead-bound": [lambda n: claims.relu_chain_bound([2, -1] + [2] * (n - 2))],
    # 1.2
    "rnn-bound": ["<=", lambda n: claims.rnn_bound(n)],
    "sigmoid-slope": [
        lambda upsilon: sigmoid_slope(logit(upsilon)),
        "=",
        lambda upsilon: sigmoid_slope(logit(upsilon)),
    ],
    "slope-top": [lambda: sigmoid_slope(0)],
    "slope-bound": ["<=", lambda: sigmoid_slope(0)],
    "rnn-proof": [
        "<=",
        lambda psi, sigma_max, n: math.prod(psi[: n - 1]) * sigma_max ** (n - 1),
        "<=",
        lambda n: claims.rnn_bound(n),
        "=",
        lambda n: claims.rnn_bound(n),
    ],
    "rnn-explodes": [">", lambda: 1 / claims.rnn_bound(2, 1)],
    "rnn-general-bound": ["<=", claims.rnn_bound],
    # 1.3
    "kernel-order": [lambda n, m, d: matmul_cost((n, m), (m, d))],
    "kernel-linear": [lambda n: growth(claims.linear_attention_products, n)],
    "theorem-linear": [lambda n: growth(claims.linear_attention_products, n)],
    "kernel-features": [lambda n: 2 * n],  # of every query and of every key
    "table-features": [lambda n: 2 * n],
    "all-features": [lambda n: 2 * n],
    "all-divisions": [lambda n, d: linear_attention_cost(n, 2, d)[1]],
    "plain-memory": [lambda d: d + 1],  # as in test_attention.py
    "plain-cache": [lambda n, d: np.ones((2, n, d)).size],
    "causal-state": [lambda m, d: m * d + m],
    "svd-order": [lambda n, k, d: matmul_cost((n, k), (k, d))],
    "projection-order": [lambda n, k, d: matmul_cost((n, d), (d, k))],
    "qr-order": [lambda n, d: matmul_cost((n, d), (d, d))],
    "quadratic-products": [claims.quadratic_products],
    "quadratic-divisions": [lambda n, d: n * d],
    "cost-S": [lambda n, m, d: matmul_cost((m, n), (n, d))],
    "cost-numerator": [lambda n, m, d: matmul_cost((n, m), (m, d))],
    "cost-denominator": [lambda n, m: matmul_cost((n, m), (m, 1))],
    "kernel-divisions": [lambda n, d: linear_attention_cost(n, 2, d)[1]],
    "kernel-products": [claims.linear_attention_products],
    "kernel-pays": [
        "<",
        lambda n, d: break_even(
            lambda m: claims.linear_attention_products(n, m, d), claims.quadratic_products(n, d)
        ),
    ],
    "kernel-memory": [lambda m, d: m * d + m],
    "features-error": [claims.positive_features_error],
    "svd-products": [claims.low_rank_products],
    "svd-first": [lambda n, k, d: matmul_cost((k, n), (n, d))],
    "svd-scaling": [lambda k, d: k * d],
    "svd-last": [lambda n, k, d: matmul_cost((n, k), (k, d))],
    "svd-pays": [
        "<",
        lambda n, d: break_even(
            lambda k: claims.low_rank_products(n, k, d), matmul_cost((n, n), (n, d))
        ),
    ],
    "svd-error": ["<=", lambda sigma, k, V: sigma[k] * V],  # Python counts from 0
    "projection-products": [claims.projection_products],
    "projection-each": [lambda n, k, d: claims.projection_products(n, k, d) / 4],
    "associative-products": [
        lambda n, d: matmul_cost((d, n), (n, d)) + matmul_cost((n, d), (d, d))
    ],
    "projection-pays": [
        "<",
        lambda n, d: break_even(lambda k: claims.projection_products(n, k, d), 2 * n * d**2),
    ],
    # 1.4
    "relative-output": [lambda W_V, rho, x: W_V * (rho @ x)],
    "relative-weights": [lambda gamma, j: softmax(gamma)[j - 1]],
    "answer-score": [
        lambda beta, x_i, x_j: np.prod(claims.max_pool_layer(1, beta, 0)[:2]) * x_i * x_j
    ],
    "answer-content": [
        lambda beta, x_max: math.log(claims.max_pool_leak_bound(4, 1, beta, x_max, 0))
    ],
    "pool-shortfall": [
        lambda g, b, i, k: softmax(-b * g[i - 1 - k : i + k]) @ g[i - 1 - k : i + k]
    ],
    "leak-condition": [
        "<=",
        lambda beta, x_i, x_max, tau_i: math.log(
            claims.max_pool_leak(4, 1, beta, x_i, x_max, tau_i, 0)
        ),
    ],
    "scores": [lambda W_Q, W_K, x_i, x_j, point: W_Q * x_i * (W_K * x_j) + point["p_i-j"]],
    "conv-range": [given(2), "<=", lambda i: i, "<=", lambda n: n - 1],
    "conv-others": ["=", lambda B: claims.convolution_layer(B).p(np.array(5))],
    "conv-target": [lambda x, i: claims.convolution(x)[i - 2]],
    "conv-answer": ["<=", claims.convolution_bound],
    "conv-penalty": ["=", claims.convolution_penalty],
    "conv-leak": [lambda n, B: claims.convolution_bound(n, 1, B)],
    "conv-output": [
        lambda x, i, mu, chi: 3 * (claims.convolution(x)[i - 2] + mu * chi) / (3 + mu)
    ],
    "conv-error": [lambda mu, chi, tau_i: 3 * (tau_i + mu * chi) / (3 + mu) - tau_i],
    "conv-bound": [
        "<=",
        lambda n, x_max, mu: claims.convolution_sharp_bound(n, x_max, math.log((n - 2) / mu)),
        "<=",
        lambda n, x_max, mu: claims.convolution_bound(n, x_max, math.log((n - 2) / mu)),
        "=",
        claims.convolution_bound,
    ],
    "conv-first": [lambda x: claims.convolution_layer(math.inf)(x)[0]],
    "conv-last": [lambda x: claims.convolution_layer(math.inf)(x)[-1]],
    "pool-length": [lambda n: n, ">=", lambda k: 2 * k + 1],
    "pool-range": [lambda k: k + 1, "<=", lambda i: i, "<=", lambda n, k: n - k],
    "pool-inside": ["=", lambda k, B: claims.max_pool_layer(k, 1, B).p(np.array(-k))],
    "pool-near": [lambda point: abs(point["l"]), "<=", lambda k: k],
    "pool-outside": ["=", lambda k, B: claims.max_pool_layer(k, 1, B).p(np.array(k + 1))],
    "pool-far": [lambda point: abs(point["l"]), ">", lambda k: k],
    "pool-beta": ["=", claims.max_pool_beta],
    "pool-penalty": ["=", claims.max_pool_penalty],
    "pool-window": [
        "<=",
        lambda k, b: claims.max_pool_window_bound(k, b, 1),
        "=",
        claims.max_pool_window_bound,
    ],
    "pool-term": [lambda b: claims.max_pool_window_bound(1, b, 1) / 2],
    "pool-leak": ["<=", claims.max_pool_leak, "<=", claims.max_pool_leak_bound],
    "pool-content": [
        "<=",
        lambda x_max: max(t * (x_max - t) for t in np.linspace(0, x_max, 3)),
    ],
    "pool-split": [lambda lambda_i, nu, zeta: nu + lambda_i * (zeta - nu)],
    "pool-bound": [
        "<=",
        lambda tau_i, lambda_i, nu, zeta: tau_i - nu + lambda_i * abs(zeta - tau_i),
        "<=",
        claims.max_pool_bound,
    ],
    "pool-first-half": [
        lambda k, beta, x_min: claims.max_pool_window_bound(k, beta, x_min),
        "=",
        lambda k, x_min, eta: claims.max_pool_window_bound(
            k, claims.max_pool_beta(k, x_min, eta), x_min
        ),
    ],
    "pool-second-half": [
        lambda n, beta, x_max, B: n * x_max * claims.max_pool_leak_bound(4, 1, beta, x_max, B),
        "=",
        lambda n, beta, x_max, eta: (
            n
            * x_max
            * claims.max_pool_leak_bound(
                4, 1, beta, x_max, claims.max_pool_penalty(n, beta, x_max, eta)
            )
        ),
    ],
    "outside-score": [lambda b, x_max, B: b * x_max + claims.max_pool_layer(1, 1, B).p(2)],
    "sharp-term": [lambda b, r: max((g - r) * math.exp(-b * g) for g in (r + 1 / b, r, r + 9))],
    "sharp-suffices": [
        lambda k, b, r: 2 * k * b * (1 / b) * math.exp(-b * (r + 1 / b)),
        "<=",
        lambda b, r: b * r,
    ],
    "omega": [lambda k: claims.omega(k) * math.exp(claims.omega(k))],
    "pool-sharp": [
        "<=",
        lambda k, beta, x_i, omega_k: (
            claims.max_pool_sharp_bound(k, beta, x_i) * omega_k / claims.omega(k)
        ),
    ],
    "pool-worst-gap": [lambda omega_k, b: (1 + omega_k) / b],
    "leak-least": [">=", lambda k: 1 / (2 * k + 2)],
    "zero-query": [">=", lambda a: a / 3],
    # 2
    "jl-applies": [
        lambda N, epsilon: claims.jl_dimension(N + 1, epsilon),
        "=",
        lambda N, delta: claims.jl_dimension(N + 1, claims.jl_epsilon(delta)),
    ],
    "dot-low": [lambda epsilon: -4 * epsilon],
    "dot-high": [lambda epsilon: 4 * epsilon],
    "worst-length": ["=", lambda epsilon: worst_gram(epsilon)[0, 0]],
    "worst-dot": ["=", lambda epsilon: worst_gram(epsilon)[0, 1]],
    "worst-distance": ["=", lambda epsilon: worst_gram(epsilon) @ [1, -1] @ [1, -1]],
    "sign-pairs": [lambda N: math.comb(N, 2)],
    "jl-low": [lambda epsilon: 1 - epsilon],
    "jl-high": [lambda epsilon: 1 + epsilon],
    "image-lengths": [
        lambda epsilon: 1 - epsilon,
        "<=",
        lambda M_i: M_i**2,
        "<=",
        lambda epsilon: 1 + epsilon,
    ],
    "image-distances": [
        lambda epsilon: 2 * (1 - epsilon),
        "<=",
        lambda M_i, M_j: (M_i - M_j) ** 2,
        "<=",
        lambda epsilon: 2 * (1 + epsilon),
    ],
    "jl-dimension": [">=", claims.jl_dimension],
    "constant": [
        lambda n, delta: n * delta**2 / math.log(3 * claims.vector_count_bound(n, delta))
    ],
    "count-order": [lambda n, delta, c: math.exp(n * delta**2 / c)],
    "count": [">=", claims.vector_count_bound],
    "epsilon": ["=", claims.jl_epsilon],
    "jl-count": ["=", claims.jl_vector_count],
    "image-bound": ["<=", lambda epsilon: claims.cosine_bound(epsilon) * (1 - epsilon)],
    "cosine-bound": [
        "<=",
        claims.cosine_bound,
        "=",
        lambda delta: claims.cosine_bound(claims.jl_epsilon(delta)),
        "<",
        lambda delta: delta,
    ],
    "third": [">=", lambda H: H * claims.vector_count_bound(0, 1)],
    "worst-cosine": ["=", claims.cosine_bound],
    "largest-epsilon": ["=", lambda delta: delta / (2 + delta)],
    "hoeffding": ["<=", lambda n, delta: 2 * math.exp(-n * delta**2 / 2)],
    "sign-constant": ["=", lambda: 100 / math.log(claims.sign_vector_count(100, 1))],
    "sign-count": ["=", claims.sign_vector_count],
    "sign-union": [lambda N, n, delta: N * (N - 1) / 2 * 2 * math.exp(-n * delta**2 / 2)],
}


def sigmoid_slope(z):
    """The derivative of the sigmoid, from the Jacobian of one layer."""
    return claims.rnn_jacobian(np.eye(1), np.array([float(z)]), 2).item()


def growth(cost, n):
    """How many times as much length n costs as length 1."""
    return cost(n, 1, 1) / cost(1, 1, 1)


def matmul_cost(left, right):
    """The multiplications of one matrix product."""
    return claims.count_operations(np.matmul, np.ones(left), np.ones(right))[0]


def worst_gram(epsilon):
    """The inner products of the two images that the text gives."""
    M = claims.worst_images(epsilon)
    return M.T @ M


def linear_attention_cost(n, m, d):
    arrays = np.ones((n, m)), np.ones((n, m)), np.ones((n, d))
    return claims.count_operations(claims.linear_attention, *arrays)


def break_even(cost, other):
    """Where a cost that is proportional to its argument reaches another cost."""
    return other / cost(1)


def call(function, point):
    """Call a function with the values of its parameters; without a value: its default."""
    names = inspect.signature(function).parameters
    values = point | {"point": point}
    return function(**{name: values[name] for name in names if name in values})


@pytest.mark.parametrize("name", CLAIMS)
def test_printed_formula_is_the_tested_one(name):
    parts = printed.parts(printed.FORMULAS[name])
    assert [p for p in parts if isinstance(p, str)] == [
        p for p in CLAIMS[name] if isinstance(p, str)
    ]
    assert len(parts) == len(CLAIMS[name])
    rng = np.random.default_rng(sum(map(ord, name)))
    longest = 3000 if "count" in name else 30  # so long that a floor is not 1
    for _ in range(8):
        point = draw(rng, longest)
        for part, claim in zip(parts, CLAIMS[name], strict=True):
            if not isinstance(part, str):
                assert_allclose(
                    printed.evaluate(part, point), float(call(claim, point)), rtol=1e-9, atol=0
                )


def assignments(name):
    """Return what a list of parameters like ``W_Q=0, W_V=3`` assigns, parsed, by name."""
    pairs = (printed.parts(part) for part in printed.FORMULAS[name].split(","))
    return {re.sub(r"[{} ]", "", str(symbol)): value for symbol, _, value in pairs}


def test_printed_parameters_of_the_convolution_are_those_of_the_tested_layer():
    values = assignments("conv-parameters")
    layer = claims.convolution_layer(7.0)
    expected = {"W_Q": layer.w_q, "W_K": layer.w_k, "W_V": layer.w_v}
    expected |= {f"p_{lag}": layer.p(np.array(lag)) for lag in (1, -1)}
    assert {s: printed.evaluate(value, {}) for s, value in values.items()} == expected


def test_printed_parameters_of_max_pooling_are_those_of_the_tested_layer():
    values = assignments("pool-parameters")
    layer = claims.max_pool_layer(2, 3.5, 7.0)
    expected = {"W_Q": layer.w_q, "W_K": layer.w_k, "W_V": layer.w_v}
    assert {s: printed.evaluate(v, {"beta": 3.5}) for s, v in values.items()} == expected


def cases(name):
    """Return by the word in brackets what ``$2$ ($i$ odd), $0$ ($i$ even)`` assigns."""
    found = re.findall(
        r"\$(?:w_i=)?([^$]+)\$\s+\(\$[in]\$ (odd|even)\)", printed.FORMULAS[name]
    )
    return {word: printed.evaluate(*printed.parts(value), {}) for value, word in found}


def test_printed_row_of_alternating_weights_is_what_the_chain_does():
    weights, gradients = cases("turns-weights"), cases("turns")
    w = [weights["odd"], weights["even"]] * 4
    assert w[:2] == [2, 0.5]
    for n in range(1, 9):
        expected = gradients["even" if n % 2 == 0 else "odd"]
        assert claims.relu_chain_gradient(1, w[:n]) == expected
        assert claims.relu_chain_bound(w[:n]) == expected


# --- formulas of matrices -------------------------------------------------------------------


@pytest.fixture
def arrays():
    """Values for the letters of the formulas, by letter; phi has three features."""
    rng = np.random.default_rng(413)
    n, d, k = 4, 3, 2  # four positions: then the dots of the Jacobian stand for nothing
    values = {"n": n, "i": 2, "d": d, "e": np.eye(n)}
    values |= {letter: rng.standard_normal((n, d)) for letter in "QKV"}
    directions = rng.standard_normal((3, d))
    values["phi"] = lambda q: np.exp(directions @ q)
    values["Phi_Q"], values["Phi_K"] = (values["phi"](values[x].T).T for x in "QK")
    values |= {"L": rng.standard_normal((n, k)), "R": rng.standard_normal((n, k))}
    return values | {"Sigma": np.diag(rng.uniform(1, 2, k))}


def test_printed_linear_attention_is_the_tested_one(arrays):
    features = arrays["Phi_Q"], arrays["Phi_K"]
    (S,) = printed.matrices(printed.FORMULAS["linear-S"], arrays)
    (kappa,) = printed.matrices(printed.FORMULAS["linear-kappa"], arrays)
    expected = claims.linear_attention(*features, arrays["V"])
    plain = claims.kernel_attention(features[0] @ features[1].T, arrays["V"])
    for i in range(1, arrays["n"] + 1):
        values = arrays | {"S": S, "kappa": kappa, "i": i}
        (row,) = printed.matrices(printed.FORMULAS["linear-row"], values)
        assert_allclose(row, expected[[i - 1]])
        both = printed.matrices(printed.FORMULAS["linear-proof"], values)
        assert_allclose(both, [plain[[i - 1]]] * 2)


def test_printed_jacobian_and_extremal_pair_are_the_tested_ones(arrays):
    rng, n = np.random.default_rng(7), arrays["n"]
    W, x_1 = proof_figures.random_rnn(3, rng)
    x, slopes = x_1, []
    for _ in range(n - 1):
        slopes.append(np.diag([sigmoid_slope(z) for z in W @ x]))
        x = 1 / (1 + np.exp(-W @ x))
    values = {"n": n, "W": W, "Gamma": slopes}
    (jacobian,) = printed.matrices(printed.FORMULAS["rnn-jacobian"], values)
    assert_allclose(jacobian, claims.rnn_jacobian(W, x_1, n))
    (v,) = printed.matrices(printed.FORMULAS["extremal-v"], arrays)
    (W,) = printed.matrices(printed.FORMULAS["extremal-W"], {"v": v})
    assert_allclose(W, claims.rnn_extremal(n)[0])


def test_printed_products_from_the_svd_are_the_tested_ones(arrays):
    L, Sigma, R, V = (arrays[letter] for letter in ("L", "Sigma", "R", "V"))
    formula = printed.FORMULAS["svd-order-of-products"]
    (PV,) = printed.matrices(formula, arrays)
    assert_allclose(PV, claims.low_rank_attention(L, np.diag(Sigma), R, V))

    def from_the_right(L, Sigma, R, V):
        return printed.matrices(formula, {"L": L, "Sigma": Sigma, "R": R, "V": V})[0]

    (n, k), d = L.shape, V.shape[1]
    scaling = k * k * d - k * d  # Sigma is a matrix here
    counted = claims.count_operations(from_the_right, L, Sigma, R, V)[0]
    assert counted == claims.low_rank_products(n, k, d) + scaling


def test_printed_projections_are_the_tested_ones(arrays):
    L, R, V = arrays["L"], arrays["R"], arrays["V"]
    Q, K = L @ np.ones((2, 3)), R @ np.ones((2, 3))
    Q, K = Q + L[:, :1] * [1, 0, -1], K + R[:, 1:] * [0, 2, 1]  # QK^T has rank 2
    R = np.linalg.svd(Q @ K.T)[2][:2].T
    *names, choice = printed.FORMULAS["projection-choice"].split("=")
    assert names == ["C", "D"]
    (C,) = printed.matrices(choice, {"L": np.linalg.svd(Q @ K.T)[0][:, :2], "R": R})
    assert_allclose(C, R.T)
    for name in ("projection", "projection-order-of-products"):

        def projected(Q, K, V, C, D, formula=printed.FORMULAS[name]):
            return printed.matrices(formula, {"Q": Q, "K": K, "V": V, "C": C, "D": D})[0]

        assert_allclose(projected(Q, K, V, C, C), Q @ K.T @ V, atol=1e-12)
    counted = claims.count_operations(projected, Q, K, V, C, C)
    assert counted == (claims.projection_products(4, 2, 3), 0)


@pytest.mark.parametrize(
    "formula", [r"R\T V)", r"(R", r"R^2", r"\sum_{j=2}^n V_j", r"\frac12^3"]
)
def test_a_formula_of_matrices_that_is_read_only_in_part_is_an_error(formula, arrays):
    with pytest.raises(ValueError, match=r"cannot read|expected before"):
        printed.matrices(formula, arrays)


# --- nothing is left out --------------------------------------------------------------------

MATRICES = {
    *("linear-row", "linear-S", "linear-kappa", "linear-proof", "rnn-jacobian"),
    *("extremal-v", "extremal-W", "svd-order-of-products"),
    *("projection-choice", "projection", "projection-order-of-products"),
}
LISTS = {"conv-parameters", "pool-parameters", "turns-weights", "turns"}
DEFINITIONS = {  # what a display says without a test: names, and the chain rule
    *(r"\ReLU(z_i)", "1", "h_n", r"q+q'", r"\norm{Mx-Mx'}^2"),
    r"\frac{\abs{M_i\T M_j}}{\norm{M_i}\norm{M_j}}",
    r"\prod_{i=j+1}^{n}\frac{\partial h_i}{\partial h_{i-1}}",
    r"\frac{\partial f}{\partial h_0}",
    r"\frac{\partial x_n}{\partial x_{n-1}}\cdots\frac{\partial x_2}{\partial x_1}",
}


def test_every_tested_formula_has_a_claim_and_every_claim_a_formula():
    assert set(printed.FORMULAS) == {*CLAIMS, *MATRICES, *LISTS}


def untested(display):
    """Return what stands after a relation, other than ``0 <=``, and is not a tested formula."""
    sides = re.split(
        r"(0\s*\\le(?![a-z])|\\[lg]e(?![a-z])|[<>=])(?![^{}]*\})",
        printed.without_tested(display),
    )
    pairs = zip(sides[1::2], sides[2::2], strict=True)
    right = [side.strip() for relation, side in pairs if not relation.startswith("0")]
    return {re.split(r",| \.|#", side)[0].strip() for side in right if not side.startswith("#")}


def test_every_formula_of_every_display_is_tested():
    text = re.sub(r"(?<!\\)%.*", "", printed.TEXT)
    pattern = r"\\begin\{(equation|gather)\}(.*?)\\end\{\1\}|\\\[(.*?)\\\]"
    displays = [a or b for _, a, b in re.findall(pattern, text, re.S)]
    assert len(displays) > 20
    assert [d for d in displays if r"\tested{" not in d] == []
    assert set().union(*map(untested, displays)) == DEFINITIONS
    assert untested(r"a \le \tested{b}{b_{1}} < c, \qquad 0\le d = e") == {"c", "e"}
    assert r"\mathcal O" not in printed.without_tested(text)


def test_a_formula_that_sympy_reads_only_in_part_is_an_error():
    for formula in (r"\sigma_{k+1}\norm{V}_2", r"2nmd+"):
        with pytest.raises(Exception, match=r"."):
            printed.parts(formula)


# --- figures --------------------------------------------------------------------------------


def test_figures_are_the_ones_that_the_text_includes(tmp_path):
    included = set(re.findall(r"\\includegraphics(?:\[[^]]*\])?\{([\w-]+)\}", printed.TEXT))
    assert included == set(proof_figures.FIGURES)
    proof_figures.main(tmp_path / "one")
    proof_figures.main(tmp_path / "two")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {f"{name}.pdf" for name in included} | {"convolution-example.tex"}
    for name in names:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("name", proof_figures.DRAWN)
def test_caption_states_what_was_drawn(name):
    figure = re.search(rf"\{{{name}\}}\s*\\caption\{{(.*?)\\label", printed.TEXT, re.S)[1]
    for statement in proof_figures.DRAWN[name]:
        assert statement in re.sub(r"\s+", " ", figure), statement
