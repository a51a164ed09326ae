"""Question 1.4: a convolution and max pooling by attention with relative positions."""

import math

import claims
import numpy as np
import proof_figures
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax

INF = math.inf
ROUNDING = 1e-9


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


def random_layer(rng, n):
    """A layer with random parameters for sequences of length n."""
    p = dict(zip(range(-n, n + 1), rng.normal(0, 3, 2 * n + 1), strict=True))
    return claims.RelativeAttention(*rng.normal(0, 2, 3), np.vectorize(p.get))


def test_layer_is_the_double_sum_of_the_handout(rng):
    layer, x, expected = random_layer(rng, 9), rng.random(9), []
    for i in range(9):
        scores = [layer.w_q * x[i] * layer.w_k * x[j] + layer.p(i - j) for j in range(9)]
        expected.append(softmax(scores) @ (layer.w_v * x))
    assert_allclose(layer(x), expected, rtol=1e-12)


# --- 1.4.1 convolution ----------------------------------------------------------------------


def test_convolution_is_exact_with_infinite_penalty(rng):
    w = {1: 2, 2: 0, 3: 1}  # the handout's kernel
    for n in (3, 4, 50):
        x = rng.random(n) * 10
        expected = [sum(x[i + j - 1] * w[j + 2] for j in (-1, 0, 1)) for i in range(2, n)]
        assert_allclose(claims.convolution(x), expected, rtol=1e-12)
        assert_allclose(claims.convolution_layer(INF)(x)[1:-1], expected, rtol=1e-12)


@pytest.mark.parametrize("n", [3, 4, 33])
@pytest.mark.parametrize("B", [-2, 0, 3, 12])
@pytest.mark.parametrize("x_max", [0.1, 5.0])
def test_convolution_bound_holds_and_the_sharp_one_is_attained(n, B, x_max, rng):
    error = proof_figures.convolution_error(B, proof_figures.convolution_inputs(n, x_max, rng))
    assert_allclose(error, claims.convolution_sharp_bound(n, x_max, B), rtol=1e-9)
    assert error <= claims.convolution_bound(n, x_max, B)


def test_convolution_penalty_gives_the_wanted_error_and_a_smaller_one_does_not(rng):
    n, x_max, eta = 40, 7.0, 1e-6
    B = claims.convolution_penalty(n, x_max, eta)
    inputs = proof_figures.convolution_inputs(n, x_max, rng)
    assert proof_figures.convolution_error(B, inputs) <= eta
    assert proof_figures.convolution_error(B - 1e-4, inputs) > eta


@pytest.mark.parametrize("w", [(2, 0, 1), (1, 2, 1), (0, 0, 3), (0.5, 0, 0)])
def test_every_kernel_with_entries_of_one_sign_is_possible(w, rng):
    x, B = rng.uniform(0, 2, (20, 9)), 6.0
    layer = claims.kernel_layer(w, B)
    for sequence in [np.eye(9)[4] * 2, 2 - np.eye(9)[4] * 2, *x]:
        error = layer(sequence)[1:-1] - np.convolve(sequence, w[::-1], "valid")
        assert abs(error).max() <= claims.kernel_bound(9, 2, sum(w), B)


# --- 1.4.2 max pooling ----------------------------------------------------------------------


def window_inputs(rng, n, scale):
    """Sequences >= 0 with ties, near-ties, spikes and constants."""
    yield from rng.uniform(0.01, 1, (10, n)) * scale
    yield from rng.choice([0.1, 0.5, 0.500001, 1.0], (10, n)) * scale
    yield np.full(n, scale)
    yield np.geomspace(1e-3, 1, n) * scale


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("beta", [0.1, 1, 20, 500])
def test_error_inside_the_window_is_within_its_bound(k, beta, rng):
    n = 16
    for x in window_inputs(rng, n, scale=2.0):
        center = x[k : n - k]
        short = claims.max_pool(x, k) - claims.max_pool_layer(k, beta, INF)(x)[k : n - k]
        assert (short >= -ROUNDING).all()
        assert (short <= claims.max_pool_window_bound(k, beta * center) + ROUNDING).all()


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("beta", "B"), [(1, -1), (1, 5), (10, 12), (100, 40)])
def test_weight_outside_the_window_is_within_its_bounds(k, beta, B, rng):
    n, x_max = 20, 1.3
    layer = claims.max_pool_layer(k, beta, B)
    distance = abs(np.subtract.outer(range(n), range(n)))
    for x in window_inputs(rng, n, x_max):
        weight = (layer.weights(x) * (distance > k)).sum(1)
        for i in range(k, n - k):
            tau = x[i - k : i + k + 1].max()
            exact = claims.max_pool_leak(n, k, beta, x[i], x_max, tau, B)
            assert weight[i] <= exact * (1 + ROUNDING)
            assert exact <= claims.max_pool_leak_bound(n, k, beta, x_max, B) * (1 + ROUNDING)


@pytest.mark.parametrize("k", [1, 4])
def test_bound_on_the_weight_outside_is_attained(k):
    """x_i = x_max/2, the window otherwise 0, x_max outside: neither n-2k-1 nor 1/4 is loose."""
    n, beta, B = 30, 80.0, 45.0
    x = np.ones(n)
    x[n // 2 - k : n // 2 + k + 1] = 0
    x[n // 2] = 0.5
    weight = claims.max_pool_layer(k, beta, B).weights(x)[n // 2, x == 1].sum()
    assert_allclose(weight, claims.max_pool_leak_bound(n, k, beta, 1, B), rtol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 2, 6])
@pytest.mark.parametrize("eta", [1.0, 0.01])
@pytest.mark.parametrize("x_min", [0.2, 1.5])
def test_max_pool_parameters_give_the_wanted_error(k, eta, x_min, rng):
    n, x_max = 24, 3.0
    beta = claims.max_pool_beta(k, x_min, eta)
    B = claims.max_pool_penalty(n, beta, x_max, eta)
    inputs = proof_figures.max_pool_inputs(n, k, beta or 1, x_min, x_max, rng)
    assert proof_figures.max_pool_error(k, beta, B, inputs) <= eta


def test_max_pool_parameters_fail_with_an_eighth_of_beta_or_a_smaller_penalty():
    n, k, x_min, x_max, eta = 24, 2, 0.5, 1.0, 0.01
    beta = claims.max_pool_beta(k, x_min, eta)
    B = claims.max_pool_penalty(n, beta, x_max, eta)
    tie = np.full(n, x_min)
    tie[n // 2] += 8 / (beta * x_min)
    assert proof_figures.max_pool_error(k, beta / 8, B, [tie]) > eta
    leak = np.full(n, x_max)
    leak[n // 2 - k : n // 2 + k + 1] = x_max / 2
    assert proof_figures.max_pool_error(k, beta, B - 8, [leak]) > eta


def zero_query_error(layer, i, n, a):
    """The largest error at position i (from 0) on the three inputs of the proposition."""
    inputs = [a * np.eye(n)[i - 1], a * np.eye(n)[i + 1]]
    inputs.append(inputs[0] + inputs[1])
    return max(abs(layer(x)[i] - a) for x in inputs)


def test_zero_query_error_of_one_third_is_the_best_possible():
    layer = claims.RelativeAttention(1, 1, 4 / 3, lambda lag: np.where(abs(lag) == 1, 0, -INF))
    assert_allclose(zero_query_error(layer, 2, 5, 1.0), 1 / 3)
