"""Question 1.4: a convolution and max-pooling by attention with relative positions."""

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


def handout_layer(x, w_q, w_k, w_v, p):
    """RelAttnLayer with the handout's 1-based double loop; p is a function of i - j."""
    y = []
    for i in range(1, len(x) + 1):
        row = [w_q * x[i - 1] * w_k * x[j - 1] + p(i - j) for j in range(1, len(x) + 1)]
        y.append(softmax(row) @ (w_v * x))
    return np.array(y)


def test_layer_is_the_one_of_the_handout(rng):
    x = rng.random(9)
    p = {m: rng.normal() for m in range(-8, 9)}
    layer = claims.RelativeAttention(0.7, -1.2, 2.5, np.vectorize(p.get))
    assert_allclose(layer(x), handout_layer(x, 0.7, -1.2, 2.5, p.get), rtol=1e-12)


# --- 1.4.1 convolution ----------------------------------------------------------------------


def test_convolution_is_exact_with_infinite_penalty(rng):
    w = dict(zip((1, 2, 3), (2, 0, 1), strict=True))  # the handout's kernel, from index 1
    for n in (3, 4, 50):
        x = rng.random(n) * 10
        expected = [sum(x[i + j - 1] * w[j + 2] for j in (-1, 0, 1)) for i in range(2, n)]
        assert_allclose(claims.convolution(x), expected, rtol=1e-12)
        assert_allclose(claims.convolution_layer(INF)(x)[1:-1], expected, rtol=1e-12)


def test_convolution_of_the_worked_example():
    x = np.array([1.0, 3, 2, 5, 4])
    assert claims.convolution(x).tolist() == [4, 11, 8]
    assert claims.convolution_layer(10)(x)[1:-1].round(4).tolist() == [4.0004, 10.9998, 8.0]
    table = proof_figures.convolution_example()
    assert all(number in table for number in ("& 4 & 11 & 8 &", "4.0004 & 10.9998 & 8.0000"))


def test_exchanging_the_two_values_of_p_gives_the_mirrored_kernel(rng):
    x, layer = rng.random(10), claims.convolution_layer(INF)
    mirrored = layer._replace(p=lambda lag: layer.p(-lag))
    assert abs(mirrored(x)[1:-1] - claims.convolution(x)).max() > 0.1
    assert_allclose(mirrored(x)[1:-1], x[:-2] + 2 * x[2:], rtol=1e-12)


@pytest.mark.parametrize("n", [3, 4, 33])
@pytest.mark.parametrize("B", [-2, 0, 3, 12])
@pytest.mark.parametrize("x_max", [0.1, 5.0])
def test_convolution_bound_holds_and_is_attained(n, B, x_max, rng):
    sharp = claims.convolution_sharp_bound(n, x_max, B)
    assert_allclose(proof_figures.convolution_error(n, x_max, B, rng), sharp, rtol=1e-9)
    assert sharp <= claims.convolution_bound(n, x_max, B)
    limit = claims.convolution_sharp_bound(n, x_max, 30)
    assert_allclose(claims.convolution_bound(n, x_max, 30), limit, rtol=1e-9)


def test_convolution_penalty_gives_the_wanted_error_and_a_smaller_one_does_not(rng):
    n, x_max, eta = 40, 7.0, 1e-6
    B = claims.convolution_penalty(n, x_max, eta)
    assert proof_figures.convolution_error(n, x_max, B, rng) <= eta
    assert proof_figures.convolution_error(n, x_max, B - 1e-4, rng) > eta


def test_convolution_bound_doubles_for_inputs_of_both_signs():
    n, x_max, B = 9, 1.0, 2.0
    x = np.full(n, x_max)
    x[[3, 5]] = -x_max
    error = abs(claims.convolution_layer(B)(x)[4] - (2 * x[3] + x[5]))
    assert_allclose(error, 2 * claims.convolution_sharp_bound(n, x_max, B))


def test_convolution_at_the_ignored_ends():
    x = np.array([5.0, 7.0, 11.0, 13.0])
    y = claims.convolution_layer(INF)(x)
    assert_allclose([y[0], y[-1]], [3 * x[1], 3 * x[-2]])


# --- 1.4.2 max-pooling ----------------------------------------------------------------------


def window_inputs(rng, n, scale):
    """Sequences >= 0 with ties, near-ties, spikes and constants."""
    yield from rng.uniform(0.01, 1, (10, n)) * scale
    yield from rng.choice([0.1, 0.5, 0.500001, 1.0], (10, n)) * scale
    yield np.full(n, scale)
    yield np.geomspace(1e-3, 1, n) * scale


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("beta", [0.1, 1, 20, 500])
def test_max_pool_error_is_within_the_window_bounds(k, beta, rng):
    n = 16
    for x in window_inputs(rng, n, scale=2.0):
        centre = x[k : n - k]
        short = claims.max_pool(x, k) - claims.max_pool_layer(k, beta, INF)(x)[k : n - k]
        assert (short >= -ROUNDING).all()
        sharp = claims.max_pool_sharp_bound(k, beta, centre)
        assert (short <= sharp * (1 + ROUNDING)).all()
        assert (sharp <= claims.max_pool_window_bound(k, beta, centre)).all()


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("beta", [0.1, 3, 1000])
@pytest.mark.parametrize("x_i", [0.01, 2.0])
def test_sharp_window_bound_is_attained_without_any_gap(k, beta, x_i):
    bound = claims.max_pool_sharp_bound(k, beta, x_i)
    x = np.full(2 * k + 1, x_i)
    x[k + 1] += (1 + claims.omega(k)) / (beta * x_i)
    short = x.max() - claims.max_pool_layer(k, beta, INF)(x)[k]
    assert_allclose(short, bound, rtol=1e-8)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_simple_window_bound_is_its_proof_and_no_more(k):
    """The numerator: 2k gaps g, each with g e^{-bg} <= 1/(eb), all equal at g = 1/b."""
    b = 1.7
    g = np.linspace(0, 20, 100_001)
    assert_allclose((g * np.exp(-b * g)).max(), 1 / (math.e * b), rtol=1e-8)
    numerator = 2 * k * (1 / b) * math.exp(-b * (1 / b))
    assert_allclose(claims.max_pool_window_bound(k, b, 1.0), numerator)


@pytest.mark.parametrize("k", range(8))
def test_omega_solves_its_equation_and_is_below_the_simple_constant(k):
    assert_allclose(claims.omega(k) * math.exp(claims.omega(k)), 2 * k / math.e)
    assert claims.omega(k) <= 2 * k / math.e


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("beta", "B"), [(1, -1), (1, 5), (10, 12), (100, 40)])
def test_leak_and_total_error_are_within_their_bounds(k, beta, B, rng):
    n, x_max = 20, 1.3
    worst = np.full(n, x_max)
    worst[n // 2 - k : n // 2 + k + 1] = 0
    worst[n // 2] = x_max / 2
    layer = claims.max_pool_layer(k, beta, B)
    i = np.arange(k, n - k)
    for x in [*window_inputs(rng, n, x_max), worst]:
        i = np.arange(k, n - k)[x[k : n - k] > 0]
        outside = abs(i[:, None] - np.arange(n)) > k
        leak = (layer.weights(x)[i] * outside).sum(1)
        largest = claims.max_pool(x, k)[i - k]
        exact = claims.max_pool_leak(n, k, beta, x[i], x_max, largest, B)
        assert (leak <= exact * (1 + ROUNDING)).all()
        assert (
            exact <= claims.max_pool_leak_bound(n, k, beta, x_max, B) * (1 + ROUNDING)
        ).all()
        bound = claims.max_pool_bound(k, beta, x[i], x_max, leak)
        assert (abs(layer(x)[i] - largest) <= bound * (1 + ROUNDING)).all()


@pytest.mark.parametrize("k", [1, 4])
def test_leak_bound_is_attained_by_the_worst_input(k):
    """x_i = x_max/2, the window otherwise 0, x_max outside: neither n-2k-1 nor 1/4 is loose."""
    n, beta, x_max, B = 30, 80.0, 1.0, 45.0
    x = np.full(n, x_max)
    x[n // 2 - k : n // 2 + k + 1] = 0
    x[n // 2] = x_max / 2
    leak = claims.max_pool_layer(k, beta, B).weights(x)[n // 2, x == x_max].sum()
    assert_allclose(leak, claims.max_pool_leak_bound(n, k, beta, x_max, B), rtol=1e-6)
    assert_allclose(leak, claims.max_pool_leak(n, k, beta, 0.5, x_max, 0.5, B), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 3])
def test_total_bound_is_attained_when_the_leak_makes_all_of_the_error(k):
    """x_max inside, 0 outside: nothing is lost inside, and all that leaks is worth x_max."""
    n, beta, x_max, B = 20, 1e9, 2.0, -4e9
    x = np.zeros(n)
    x[n // 2 - k : n // 2 + k + 1] = x_max
    layer = claims.max_pool_layer(k, beta, B)
    leak = layer.weights(x)[n // 2, x == 0].sum()
    assert leak > 0.1
    error = abs(layer(x)[n // 2] - x_max)
    assert_allclose(error, claims.max_pool_bound(k, beta, x_max, x_max, leak), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("eta", [1.0, 0.01])
@pytest.mark.parametrize("x_min", [0.2, 1.5])
def test_max_pool_parameters_give_the_wanted_error(k, eta, x_min, rng):
    n, x_max = 24, 3.0
    beta = claims.max_pool_beta(k, x_min, eta)
    B = claims.max_pool_penalty(n, beta, x_max, eta)
    inputs = proof_figures.max_pool_inputs(n, k, beta, x_min, x_max, rng)
    assert proof_figures.max_pool_error(k, beta, B, inputs) <= eta
    # the proof gives each of the two errors one half
    assert_allclose(claims.max_pool_window_bound(k, beta, x_min), eta / 2)
    share = (n - 2 * k - 1) / n
    leak = x_max * claims.max_pool_leak_bound(n, k, beta, x_max, B)
    assert_allclose(leak, share * eta / 2, rtol=1e-9)


@pytest.mark.parametrize("eta", [0.1, 0.01])
def test_max_pool_parameters_leave_no_more_than_the_proof_needs(eta):
    """The worst inputs take omega/(2k/e) of one half of eta, and nearly all of the other."""
    n, k, x_min, x_max = 2001, 1, 0.5, 1.0
    beta = claims.max_pool_beta(k, x_min, eta)
    layer = claims.max_pool_layer(k, beta, claims.max_pool_penalty(n, beta, x_max, eta))
    x = np.full(n, x_min)
    x[n // 2 + 1] += (1 + claims.omega(k)) / (beta * x_min)
    inside = claims.omega(k) / (2 * k / math.e) * eta / 2
    assert x.max() <= x_max
    assert_allclose(abs(layer(x)[n // 2] - x.max()), inside, rtol=0.05)
    x = np.full(n, x_max)
    x[n // 2 - k : n // 2 + k + 1] = 0
    x[n // 2] = x_max / 2
    leak = layer.weights(x)[n // 2, x == x_max].sum() * x_max
    assert 0.9 * eta / 2 < leak < eta / 2


@pytest.mark.parametrize("k", [1, 3])
def test_max_pool_leaks_when_the_penalty_does_not_beat_the_content(k):
    n, B = 12, 50.0
    x = np.full(n, 0.5)
    x[0] = 1.0
    i = n // 2
    for beta in (200.0, 1000.0, 1e4):
        assert beta * x[i] * (1 - 0.5) >= B
        leak = claims.max_pool_layer(k, beta, B).weights(x)[i, 0]
        assert leak >= 1 / (2 * k + 2) * (1 - ROUNDING)
    assert_allclose(claims.max_pool_layer(k, beta, B)(x)[i], 1)  # the window's maximum is 0.5


def test_least_leak_is_attained_when_one_entry_outside_ties_with_the_window():
    k, beta = 2, 1e3
    x = np.full(2 * k + 2, 0.5)
    x[-1] = 1.0
    leak = claims.max_pool_layer(k, beta, beta * 0.5 * 0.5).weights(x)[k, -1]
    assert_allclose(leak, 1 / (2 * k + 2))


def test_max_pool_returns_the_mean_where_the_query_is_zero():
    for k in (1, 2, 4):
        x = np.zeros(2 * k + 1)
        x[k - 1] = 1.0
        for beta in (1, 1e6):
            assert_allclose(claims.max_pool_layer(k, beta, INF)(x)[k], 1 / (2 * k + 1))


def zero_query_error(layer, i, n, a, zero=0.0):
    """The largest error at position i (from 0) on the three inputs of the proposition.

    Args:
        layer: a `claims.RelativeAttention`.
        i: the position, counted from 0.
        n: length of the inputs.
        a: the scale of the inputs.
        zero: what stands in the place of every 0.
    """
    errors = []
    for ones in ([i - 1], [i + 1], [i - 1, i + 1]):
        x = np.full(n, zero)
        x[ones] = a
        errors.append(abs(layer(x)[i] - a))
    return max(errors)


@pytest.mark.parametrize("a", [0.1, 1.0, 30.0])
def test_no_parameters_give_max_pooling_at_a_zero_query(a, rng):
    n, i = 7, 3
    for _ in range(100):
        p = dict(zip(range(-n, n + 1), rng.normal(0, 3, 2 * n + 1), strict=True))
        w_q, w_k, w_v = rng.normal(0, 2, 3)
        layer = claims.RelativeAttention(w_q, w_k, w_v, np.vectorize(p.get))
        assert zero_query_error(layer, i, n, a) >= a / 3 * (1 - ROUNDING)
        assert zero_query_error(layer, i, n, a, zero=1e-12) >= a / 3 * (1 - 1e-6)


def test_zero_query_error_of_one_third_is_the_best_possible():
    layer = claims.RelativeAttention(1, 1, 4 / 3, lambda lag: np.where(abs(lag) == 1, 0, -INF))
    assert_allclose(zero_query_error(layer, 2, 5, 1.0), 1 / 3)
