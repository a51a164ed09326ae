r"""What Questions 1 and 2 print is what the other tests check.

Each ``\tested{name}{formula}`` of the text is parsed and compared, part by part, with the
function of ``claims.py`` that the numeric tests use, at random points; its relations must be
those of the table below.
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
    point["X"], point["H"], point["mu"] = point["points"], rng.uniform(1, 9), rng.uniform(0, 1)
    return point


def given(value):
    """A number that the handout gives or that the text states, not a function of anything."""
    return lambda: value


# By name: the relations that are printed and the functions for what stands between them.
CLAIMS = {
    # 1.1
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
    "slope-bound": ["<=", given(1 / 4)],
    "rnn-proof": ["<=", lambda n: claims.rnn_bound(n), "=", lambda n: claims.rnn_bound(n)],
    "rnn-general-bound": ["<=", claims.rnn_bound],
    # 1.3
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
    "sign-count": ["=", claims.sign_vector_count],
    "sign-union": [lambda N, n, delta: N * (N - 1) / 2 * 2 * math.exp(-n * delta**2 / 2)],
}


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


def test_every_tested_formula_has_a_claim_and_every_claim_a_formula():
    assert set(printed.FORMULAS) == {*CLAIMS, "conv-parameters", "pool-parameters"}


def test_every_displayed_bound_and_count_is_tested():
    text = re.sub(r"(?<!\\)%.*", "", printed.TEXT)
    displays = re.findall(r"\\begin\{(equation|gather)\}(.*?)\\end|\\\[(.*?)\\\]", text, re.S)
    bounds = [
        a or b
        for _, a, b in displays
        if re.search(r"\\[lg]e(?![a-z])|[<>]|\\floor|\\mathcal O", a + b)
    ]
    assert len(bounds) >= 12
    assert [b for b in bounds if r"\tested{" not in b] == []


def test_a_formula_that_sympy_reads_onlnu_part_is_an_error():
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
