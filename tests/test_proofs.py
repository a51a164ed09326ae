"""Questions 1 and 2: every claim of the written part, checked as it is printed.

Bounds and layers come from ``written/claims.py``, whose constants are those of the text. Where
a bound is sharp, a test reaches it, so that a constant too large fails like one too small.
"""

import math
import re
from itertools import combinations, pairwise, product

import claims
import figures
import numpy as np
import pytest
import torch
from definitions import ROOT
from scipy.special import expit, softmax

INF = math.inf
ROUNDING = 1e-12
TEXT = "".join(
    path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "written" / "sections").glob("q[12]-*.tex"))
)


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


@pytest.mark.parametrize("name", claims.CONSTANT)
def test_constant_is_printed_by_the_text(name):
    assert re.search(rf"\\{name}(?![A-Za-z])", TEXT)


# --- 1.1 ReLU chains ------------------------------------------------------------------------


def random_chains(rng, count=300):
    """Pairs (x, weights) with signs, zeros and kinks among them."""
    for _ in range(count):
        n = rng.integers(1, 9)
        weights = rng.normal(0, 1.5, n) * (rng.random(n) > 0.1)
        if rng.random() < 0.5:
            weights[1:] = abs(weights[1:])
        yield float(rng.choice([-1.3, -1e-3, 0.0, 1e-3, 2.0])), weights.tolist()


def test_backpropagation_returns_the_product_of_weights_and_slopes(rng):
    for x, weights in random_chains(rng):
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        h = leaf
        for w in weights:
            h = torch.relu(w * h)
        h.backward()
        assert h.item() == pytest.approx(claims.relu_chain(x, weights))
        assert leaf.grad.item() == pytest.approx(claims.relu_chain_gradient(x, weights))


def test_relu_gradient_is_bounded_by_the_product_of_the_weights(rng):
    for x, weights in random_chains(rng):
        for slope in (0, 0.3, 1):
            gradient = claims.relu_chain_gradient(x, weights, slope)
            assert abs(gradient) <= claims.relu_chain_bound(weights) * (1 + ROUNDING)


def test_relu_bound_needs_slopes_between_zero_and_one():
    assert abs(claims.relu_chain_gradient(0, [1, 1], slope_at_zero=2)) > 1


def test_relu_derivative_away_from_zero_has_the_closed_form_for_every_slope(rng):
    for x, weights in random_chains(rng):
        if x == 0:
            continue
        step = 1e-4 * abs(x)
        difference = claims.relu_chain(x + step, weights) - claims.relu_chain(x - step, weights)
        derivative = claims.relu_chain_derivative(x, weights)
        assert difference / (2 * step) == pytest.approx(derivative, abs=1e-9)
        assert abs(derivative) in (0, claims.relu_chain_bound(weights))
        for slope in (0, 0.3, 1):
            gradient = claims.relu_chain_gradient(x, weights, slope)
            assert gradient == pytest.approx(derivative, abs=ROUNDING)


def test_relu_bound_is_attained_exactly_when_the_later_weights_are_positive(rng):
    for signs in product([-1, 1], repeat=4):
        weights = [s * w for s, w in zip(signs, rng.uniform(0.5, 2, 4), strict=True)]
        reached = [
            abs(claims.relu_chain_derivative(x, weights))
            == pytest.approx(claims.relu_chain_bound(weights))
            for x in (-1, 1)
        ]
        assert any(reached) == all(w > 0 for w in weights[1:])


def test_relu_with_unit_weights_neither_vanishes_nor_explodes():
    for n in (1, 10, 100):
        assert claims.relu_chain_derivative(0.7, [1.0] * n) == 1
        assert claims.relu_chain_derivative(-0.7, [1.0] * n) == 0


@pytest.mark.parametrize(
    ("weights", "gradient", "bound"),
    [
        (lambda n: [0.5] * n, lambda n: 2.0**-n, lambda n: 2.0**-n),
        (lambda n: [2.0] * n, lambda n: 2.0**n, lambda n: 2.0**n),
        (lambda n: [2.0, 0.5] * (n // 2) + [2.0] * (n % 2), lambda n: 1 + n % 2, None),
        (lambda n: [2.0, -1.0] + [2.0] * (n - 2), lambda n: 0.0, lambda n: 2.0 ** (n - 1)),
    ],
    ids=["vanishes", "explodes", "neither", "dead"],
)
def test_relu_examples_of_the_table(weights, gradient, bound):
    for n in range(2, 12):
        assert claims.relu_chain_gradient(1.0, weights(n)) == gradient(n)
        assert claims.relu_chain_bound(weights(n)) == (bound or gradient)(n)


def test_relu_gradient_at_zero_depends_on_the_convention():
    assert claims.relu_chain_gradient(0, [1, -1], slope_at_zero=0) == 0
    assert claims.relu_chain_gradient(0, [1, -1], slope_at_zero=0.5) == -0.25  # yet f = 0


# --- 1.2 Sigmoid network --------------------------------------------------------------------


def test_sigmoid_slope_is_largest_at_zero_only():
    z = np.linspace(-30, 30, 60_001)
    slope = expit(z) * expit(-z)
    largest = 1 / claims.CONSTANT["SigmoidSlope"]
    assert slope.min() > 0
    assert slope.max() == pytest.approx(largest, abs=1e-15)
    assert (slope[abs(z) > 1e-3] < largest).all()


def test_rnn_jacobian_is_the_derivative_that_autograd_finds(rng):
    W, x_1 = figures.random_rnn(5, rng)

    def network(x):
        for _ in range(3):
            x = torch.sigmoid(torch.as_tensor(W) @ x)
        return x

    expected = torch.autograd.functional.jacobian(network, torch.as_tensor(x_1))
    np.testing.assert_allclose(claims.rnn_jacobian(W, x_1, 4), expected, rtol=1e-10)


def test_rnn_jacobian_is_within_its_bound_and_above_zero_where_claimed(rng):
    for _ in range(300):
        d = int(rng.integers(1, 9))
        W, x_1 = figures.random_rnn(d, rng)
        x_1 *= rng.choice([0, 1, 30])
        for n in range(1, 9):
            largest = np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2)
            assert 0 <= largest <= claims.rnn_bound(n) * (1 + ROUNDING)
            if n <= 2 or d == 1:
                assert largest > 0


@pytest.mark.parametrize("d", [2, 3, 10])
def test_rnn_bound_is_attained_for_every_number_of_steps(d):
    W, x_1 = claims.rnn_extremal(d)
    assert np.linalg.norm(W, 2) == pytest.approx(1 / claims.CONSTANT["LargestSingularValue"])
    for n in range(1, 20):
        largest = np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2)
        assert largest == pytest.approx(claims.rnn_bound(n), rel=1e-10)


def test_rnn_bound_is_nearly_reached_by_maximising_over_weights_and_input(rng):
    """Ascent from random starts, without knowing the extremal matrix."""
    n, best = 4, 0.0
    for seed in range(3):
        torch.manual_seed(seed)
        W = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
        x_1 = torch.randn(3, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([W, x_1], lr=0.05)
        for _ in range(400):
            scaled = W / (4 * torch.linalg.matrix_norm(W, 2))
            jacobian, x = torch.eye(3, dtype=torch.float64), x_1
            for _ in range(n - 1):
                x = torch.sigmoid(scaled @ x)
                jacobian = (x * (1 - x))[:, None] * scaled @ jacobian
            largest = torch.linalg.matrix_norm(jacobian, 2)
            optimiser.zero_grad()
            (-largest.log()).backward()
            optimiser.step()
            best = max(best, largest.item())
    assert 0.98 * claims.rnn_bound(n) < best <= claims.rnn_bound(n) * (1 + ROUNDING)


def test_rnn_bound_in_one_dimension_is_attained_up_to_two_steps_only():
    x_1 = np.linspace(-50, 50, 2001)
    for w in (-0.25, 0.25):
        W = np.array([[w]])
        largest = {
            n: np.array([abs(claims.rnn_jacobian(W, np.array([x]), n)).item() for x in x_1])
            for n in (2, 3, 4)
        }
        reached = largest[2] >= claims.rnn_bound(2) * (1 - ROUNDING)
        assert x_1[reached] == pytest.approx([0])
        for n in (3, 4):
            assert (largest[n] < claims.rnn_bound(n) * 0.999).all()


def test_rnn_jacobian_can_be_zero_from_three_positions_on():
    W, x_1 = np.zeros((2, 2)), np.array([0.3, -0.7])
    W[0, 1] = 1 / claims.CONSTANT["LargestSingularValue"]
    assert np.linalg.norm(claims.rnn_jacobian(W, x_1, 2), 2) > 0
    assert not claims.rnn_jacobian(W, x_1, 3).any()


def test_rnn_jacobian_comes_arbitrarily_close_to_zero():
    for d, n in product([1, 4], [2, 3]):
        W = np.eye(d) / claims.CONSTANT["LargestSingularValue"]
        assert np.linalg.norm(claims.rnn_jacobian(W, np.full(d, 200.0), n), 2) < 1e-20


def test_rnn_bound_fails_for_a_larger_weight_matrix():
    W, x_1 = claims.rnn_extremal(2)
    assert np.linalg.norm(claims.rnn_jacobian(1.1 * W, x_1, 3), 2) > claims.rnn_bound(3)
    assert np.linalg.norm(claims.rnn_jacobian(20 * W, x_1, 9), 2) > 1  # 20/4 > 4: explodes


# --- 1.3 Linear attention -------------------------------------------------------------------


def elu_features(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def square_features(x):
    return (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)


@pytest.mark.parametrize("features", [elu_features, square_features])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 3), (64, 8)])
def test_linear_attention_equals_the_quadratic_form(features, n, d, rng):
    Q, K, V = rng.normal(size=(3, n, d))
    phi_Q, phi_K = features(Q), features(K)
    expected = claims.kernel_attention(phi_Q @ phi_K.T, V)
    np.testing.assert_allclose(claims.linear_attention(phi_Q, phi_K, V), expected, rtol=1e-8)


def test_causal_linear_attention_equals_the_masked_quadratic_form(rng):
    Q, K, V = rng.normal(size=(3, 30, 4))
    phi_Q, phi_K = elu_features(Q), elu_features(K)
    expected = claims.kernel_attention(np.tril(phi_Q @ phi_K.T), V)
    np.testing.assert_allclose(claims.causal_linear_attention(phi_Q, phi_K, V), expected)


def test_squared_scores_have_features_of_dimension_d_squared(rng):
    Q, K = rng.normal(size=(2, 20, 3))
    assert square_features(Q).shape == (20, 9)
    np.testing.assert_allclose(square_features(Q) @ square_features(K).T, (Q @ K.T) ** 2)


@pytest.mark.parametrize(("n", "m", "d"), [(64, 32, 16), (128, 5, 7), (4096, 32, 16)])
def test_linear_attention_costs_as_many_multiplications_as_stated(n, m, d):
    counted = figures.multiplications(
        claims.linear_attention, np.ones((n, m)), np.ones((n, m)), np.ones((n, d))
    )
    assert counted == claims.linear_attention_products(n, m, d)


def test_linear_attention_cost_doubles_with_the_length_and_the_quadratic_cost_quadruples():
    d, m = 16, 32
    linear, quadratic = [], []
    for n in (256, 512, 1024):
        phi, V = np.ones((n, m)), np.ones((n, d))
        linear.append(figures.multiplications(claims.linear_attention, phi, phi, V))
        quadratic.append(
            figures.multiplications(
                lambda Q, K, V: claims.kernel_attention(Q @ K.T, V), V, V, V
            )
        )
    assert [b / a for a, b in pairwise(linear)] == [2, 2]
    assert [b / a for a, b in pairwise(quadratic)] == [4, 4]


def test_linear_kernel_gives_negative_weights_and_a_zero_sum():
    assert (np.array([[1.0]]) @ np.array([[2.0, -1.0]])).tolist() == [[2, -1]]  # sum 1
    keys = np.array([[1.0], [-1.0]])
    with np.errstate(invalid="ignore", divide="ignore"):
        row = claims.linear_attention(np.ones((1, 1)), keys, np.ones((2, 1)))
    assert not np.isfinite(row).any()


def test_entrywise_positive_features_give_convex_combinations(rng):
    Q, K, V = rng.normal(size=(3, 40, 5)) * 3
    rows = claims.linear_attention(elu_features(Q), elu_features(K), V)
    assert (rows >= V.min(0) - ROUNDING).all()
    assert (rows <= V.max(0) + ROUNDING).all()


def test_squared_scores_sum_to_zero_for_an_orthogonal_query():
    similarity = (np.array([[1.0, 0.0]]) @ np.array([[0.0, 1.0], [0.0, 2.0]]).T) ** 2
    assert similarity.sum() == 0


@pytest.mark.parametrize("m", range(1, 6))
def test_softmax_kernel_has_more_rank_than_any_m_features_can_give(m):
    a = np.arange(m + 1.0)
    kernel = np.exp(np.outer(a, a))
    exact = [[math.exp(j) ** i for i in range(m + 1)] for j in range(m + 1)]
    vandermonde = math.prod(math.exp(j) - math.exp(i) for i, j in combinations(range(m + 1), 2))
    np.testing.assert_allclose(kernel, exact)
    sign, log_determinant = np.linalg.slogdet(kernel)
    assert sign == 1
    assert log_determinant == pytest.approx(math.log(vandermonde), rel=1e-6)


def test_positive_random_features_are_unbiased_with_the_stated_error(rng):
    q, k = 0.4 * rng.normal(size=(2, 3))
    m, draws = 8, 20_000
    directions = rng.standard_normal((draws * m, 3))
    terms = (
        claims.positive_features(q[None], directions)
        * claims.positive_features(k[None], directions)
    ) * (draws * m)
    assert (terms > 0).all()
    relative = terms.reshape(draws, m).mean(1) / math.exp(q @ k) - 1
    error = claims.positive_features_relative_error(q, k, m)
    assert abs(relative.mean()) < 4 * error / math.sqrt(draws)
    assert relative.std() == pytest.approx(error, rel=0.05)


def test_positive_random_features_approximate_softmax_attention(rng):
    n, d = 50, 4
    Q, K, V = 0.4 * rng.normal(size=(3, n, d))  # the error grows with their size
    expected = softmax(Q @ K.T / math.sqrt(d), axis=1) @ V
    errors = []
    for m in (100, 10_000):
        w = rng.standard_normal((m, d))
        phi_Q, phi_K = (claims.positive_features(x / d**0.25, w) for x in (Q, K))
        errors.append(abs(claims.linear_attention(phi_Q, phi_K, V) - expected).max())
    assert errors[1] < 0.01
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("k", [1, 3, 10])
def test_attention_from_the_thin_svd_is_exact_and_costs_what_is_stated(k, rng):
    n, d = 40, 6
    P = softmax(rng.normal(size=(k, n)), axis=1)[
        rng.permutation(n) % k
    ]  # rank k, rows sum to 1
    L, sigma, Rt = np.linalg.svd(P)
    assert (sigma > 1e-10).sum() == k
    L, sigma, R, V = L[:, :k], sigma[:k], Rt[:k].T, rng.normal(size=(n, d))
    np.testing.assert_allclose(claims.low_rank_attention(L, sigma, R, V), P @ V, atol=1e-12)
    counted = figures.multiplications(claims.low_rank_attention, L, sigma, R, V)
    assert counted == claims.CONSTANT["LowRankProducts"] * n * k * d  # the scaling adds kd


def test_truncated_svd_has_the_error_of_the_next_singular_value(rng):
    P, V, k = softmax(rng.normal(size=(30, 30)), axis=1), rng.normal(size=(30, 4)), 5
    L, sigma, Rt = np.linalg.svd(P)
    truncated = claims.low_rank_attention(L[:, :k], sigma[:k], Rt[:k].T, V)
    bound = sigma[k] * np.linalg.norm(V, 2)
    assert 0 < np.linalg.norm(P @ V - truncated, 2) <= bound


@pytest.mark.parametrize(("n", "d", "k"), [(20, 5, 2), (20, 5, 5), (4, 9, 4)])
def test_projected_attention_is_exact_and_costs_what_is_stated(n, d, k, rng):
    Q = rng.normal(size=(n, k)) @ rng.normal(size=(k, d))
    K, V = rng.normal(size=(2, n, d))
    P = Q @ K.T
    assert np.linalg.matrix_rank(P) == k
    C = np.linalg.svd(P)[2][:k]
    np.testing.assert_allclose(claims.projected_attention(Q, K, V, C, C), P @ V, atol=1e-10)
    counted = figures.multiplications(claims.projected_attention, Q, K, V, C, C)
    assert counted == claims.CONSTANT["ProjectionProducts"] * n * k * d


def test_projected_attention_needs_all_k_singular_vectors(rng):
    Q, K, V = rng.normal(size=(3, 20, 5))
    C = np.linalg.svd(Q @ K.T)[2][:4]
    error = claims.projected_attention(Q, K, V, C, C) - Q @ K.T @ V
    assert np.linalg.norm(error) > 0.1


# --- 1.4 Relative attention -----------------------------------------------------------------


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
    expected = handout_layer(x, 0.7, -1.2, 2.5, p.get)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


def test_convolution_is_exact_with_infinite_penalty(rng):
    w = dict(zip((1, 2, 3), (2, 0, 1), strict=True))  # the handout's kernel, from index 1
    for n in (3, 4, 50):
        x = rng.random(n) * 10
        expected = [sum(x[i + j - 1] * w[j + 2] for j in (-1, 0, 1)) for i in range(2, n)]
        np.testing.assert_allclose(claims.convolution_layer(INF)(x)[1:-1], expected, rtol=1e-12)


def test_convolution_sign_convention_matters(rng):
    x, layer = rng.random(10), claims.convolution_layer(INF)
    mirrored = layer._replace(p=lambda m: layer.p(-m))
    assert abs(mirrored(x)[1:-1] - claims.convolution(x)).max() > 0.1
    np.testing.assert_allclose(mirrored(x)[1:-1], x[:-2] + 2 * x[2:], rtol=1e-12)


@pytest.mark.parametrize("n", [3, 4, 33])
@pytest.mark.parametrize("P", [-2, 0, 3, 12])
@pytest.mark.parametrize("X", [0.1, 5.0])
def test_convolution_bound_holds_and_is_attained(n, P, X, rng):
    sharp = claims.convolution_sharp_bound(n, X, P)
    error = figures.convolution_error(n, X, P, rng)
    assert error == pytest.approx(sharp, rel=1e-9)
    assert sharp <= claims.convolution_bound(n, X, P)
    assert claims.convolution_bound(n, X, 40) == pytest.approx(
        claims.convolution_sharp_bound(n, X, 40)
    )


def test_convolution_penalty_of_the_theorem_gives_the_wanted_error(rng):
    n, X, error = 40, 7.0, 1e-3
    P = math.log((n - 2) * X / error)
    assert figures.convolution_error(n, X, P, rng) <= error
    assert figures.convolution_error(n, X, P - 1, rng) > error


def test_convolution_bound_doubles_for_inputs_of_both_signs():
    n, X, P = 9, 1.0, 2.0
    x = np.full(n, X)
    x[[3, 5]] = -X
    error = abs(claims.convolution_layer(P)(x)[4] - (2 * x[3] + x[5]))
    sharp = claims.convolution_sharp_bound(n, X, P)
    assert error > 1.5 * sharp
    assert error == pytest.approx(2 * sharp)


def test_convolution_at_the_ignored_ends():
    x = np.array([5.0, 7.0, 11.0, 13.0])
    y = claims.convolution_layer(INF)(x)
    assert y[0] == pytest.approx(3 * x[1])
    assert y[-1] == pytest.approx(3 * x[-2])


def window_inputs(rng, n, scale):
    """Sequences >= 0 with ties, near-ties, spikes and constants."""
    yield from rng.uniform(0.01, 1, (20, n)) * scale
    yield from rng.choice([0.1, 0.5, 0.500001, 1.0], (20, n)) * scale
    yield np.full(n, scale)
    yield np.geomspace(1e-3, 1, n) * scale


@pytest.mark.parametrize("k", [0, 1, 2, 5])
@pytest.mark.parametrize("beta", [0.1, 1, 20, 500])
def test_max_pool_error_is_within_the_window_bound(k, beta, rng):
    n = 16
    for x in window_inputs(rng, n, scale=2.0):
        centre = x[k : n - k]
        short = claims.max_pool(x, k) - claims.max_pool_layer(k, beta, INF)(x)[k : n - k]
        assert (short >= -1e-12).all()
        bound = claims.max_pool_window_bound(k, beta, centre)
        assert (short <= bound + 1e-12).all()
        assert (bound <= claims.max_pool_simple_bound(k, beta, centre) + 1e-15).all()


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("beta", [0.1, 3, 1000])
@pytest.mark.parametrize("x_i", [0.01, 2.0])
def test_max_pool_window_bound_is_attained_without_any_gap(k, beta, x_i):
    bound = claims.max_pool_window_bound(k, beta, x_i)
    x = np.full(2 * k + 1, x_i)
    x[k + 1] += bound + 1 / (beta * x_i)
    short = x.max() - claims.max_pool_layer(k, beta, INF)(x)[k]
    assert short == pytest.approx(bound, rel=1e-8)


@pytest.mark.parametrize("k", range(8))
def test_lambert_constant_solves_its_equation_and_is_below_the_simple_bounds(k):
    omega = claims.max_pool_window_bound(k, 1.0, 1.0)
    assert omega * math.exp(omega) == pytest.approx(2 * k / math.e)
    assert omega <= math.log(1 + 2 * k / math.e) + 1e-15
    assert math.log(1 + 2 * k / math.e) <= claims.max_pool_simple_bound(k, 1, 1)


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize(("beta", "P"), [(1, -1), (1, 5), (10, 12), (100, 40)])
def test_max_pool_leakage_and_total_error_are_within_their_bounds(k, beta, P, rng):
    n, X = 20, 1.3
    inputs = [np.minimum(x, X) for x in window_inputs(rng, n, X)]
    spike = np.full(n, X / 2)
    spike[0] = X
    layer = claims.max_pool_layer(k, beta, P)
    i = np.arange(k, n - k)
    for x in [*inputs, spike]:
        outside = abs(i[:, None] - np.arange(n)) > k
        leak = (layer.weights(x)[k : n - k] * outside).sum(1)
        largest = claims.max_pool(x, k)
        exact = (n - 2 * k - 1) * np.exp(beta * x[i] * (X - largest) - P)
        assert (leak <= exact * (1 + 1e-9)).all()
        assert (exact <= claims.max_pool_leak_bound(n, k, beta, X, P) * (1 + 1e-9)).all()
        error = abs(layer(x)[i] - largest)
        window = claims.max_pool_window_bound(k, beta, x[i])
        assert (error <= window + X * leak + 1e-12).all()
        assert (error <= claims.max_pool_bound(n, k, beta, x[i], X, P) + 1e-12).all()


def test_max_pool_leakage_bound_is_attained_in_the_limit():
    """x_i = M = X/2 and X everywhere outside: the curvature 1/4 cannot be improved."""
    n, k, beta, X, P = 30, 0, 40.0, 1.0, 25.0
    x = np.full(n, X)
    x[n // 2] = X / 2
    leak = 1 - claims.max_pool_layer(k, beta, P).weights(x)[n // 2, n // 2]
    assert leak == pytest.approx(claims.max_pool_leak_bound(n, k, beta, X, P), rel=1e-3)


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("error", [0.3, 0.01])
def test_max_pool_parameters_of_the_theorem_give_the_wanted_error(k, error, rng):
    n, x_min, X = 24, 0.2, 3.0
    beta, P = claims.max_pool_parameters(n, k, x_min, X, error)
    inputs = figures.max_pool_inputs(n, k, beta, x_min, X, rng)
    largest = figures.max_pool_error(k, beta, P, inputs)
    assert largest <= error
    assert largest == pytest.approx(error / 2, rel=0.01)  # half is kept for the leakage


@pytest.mark.parametrize("k", [0, 1, 3])
def test_max_pool_leaks_when_the_penalty_does_not_beat_the_content(k):
    n, P = 12, 50.0
    x = np.full(n, 0.5)
    x[0] = 1.0
    i = n // 2
    for beta in (200.0, 1000.0, 1e4):
        assert beta * x[i] * (1 - 0.5) >= P
        leak = claims.max_pool_layer(k, beta, P).weights(x)[i, 0]
        assert leak >= 1 / (2 * k + 2) - 1e-12
    assert claims.max_pool_layer(k, beta, P)(x)[i] == pytest.approx(1.0)  # the window's is 0.5


def test_max_pool_returns_the_mean_where_the_query_is_zero():
    for k in (1, 2, 4):
        x = np.zeros(2 * k + 1)
        x[k - 1] = 1.0
        for beta in (1, 1e6):
            assert claims.max_pool_layer(k, beta, INF)(x)[k] == pytest.approx(1 / (2 * k + 1))


def zero_query_error(layer, i, n, zero=0.0):
    """The largest error at position i on the three inputs of the proposition, s = 1.

    Args:
        layer: a `claims.RelativeAttention`.
        i: the position, counted from 0.
        n: length of the inputs.
        zero: what stands in the place of every 0.
    """
    errors = []
    for ones in ([i - 1], [i + 1], [i - 1, i + 1]):
        x = np.full(n, zero)
        x[ones] = 1.0
        errors.append(abs(layer(x)[i] - 1))
    return max(errors)


def test_no_parameters_give_max_pooling_at_a_zero_query(rng):
    n, i = 7, 3
    least = 1 / claims.CONSTANT["ZeroQueryError"]
    for _ in range(300):
        p = dict(zip(range(-n, n + 1), rng.normal(0, 3, 2 * n + 1), strict=True))
        w_q, w_k, w_v = rng.normal(0, 2, 3)
        layer = claims.RelativeAttention(w_q, w_k, w_v, np.vectorize(p.get))
        assert zero_query_error(layer, i, n) >= least - ROUNDING
        assert zero_query_error(layer, i, n, zero=1e-9) >= least - 1e-6


def test_zero_query_error_of_one_third_is_the_best_possible():
    layer = claims.RelativeAttention(1, 1, 4 / 3, lambda m: np.where(abs(m) == 1, 0.0, -INF))
    assert zero_query_error(layer, 2, 5) == pytest.approx(1 / claims.CONSTANT["ZeroQueryError"])


# --- 2 Almost orthogonal vectors ------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 1 / 3])
def test_angle_bounds_hold_for_allowed_images_and_are_attained(epsilon, rng):
    """Lemma on angles: a, b as the lemma of Johnson and Lindenstrauss allows them."""
    low, high = -2 * epsilon / (1 - epsilon), 2 * epsilon / (1 + epsilon)
    A, B = rng.uniform(1 - epsilon, 1 + epsilon, (2, 200_000))
    C = rng.uniform(2 * (1 - epsilon), 2 * (1 + epsilon), 200_000)
    dot = (A + B - C) / 2
    assert abs(dot).max() <= 2 * epsilon
    cosine = dot / np.sqrt(A * B)
    assert low <= cosine.min()
    assert cosine.max() <= high
    assert cosine.min() == pytest.approx(low, abs=0.05)
    assert cosine.max() == pytest.approx(high, abs=0.05)


def two_images(epsilon):
    """Columns a, b of the deterministic map for which the normalised bound is attained."""
    cosine = -2 * epsilon / (1 - epsilon)
    columns = np.array([[1, cosine], [0, math.sqrt(max(0, 1 - cosine**2))]])
    return math.sqrt(1 - epsilon) * columns


@pytest.mark.parametrize("delta", [0.01, 0.3, 0.66, 0.9])
def test_hint_fails_for_unit_vectors_and_the_theorem_s_epsilon_does_not(delta):
    M = two_images(min(delta / 2, 1 / 3))
    assert claims.distortion(M) <= delta / 2 + ROUNDING  # allowed by the hint's lemma
    assert abs(M[:, 0] @ M[:, 1]) <= delta + ROUNDING  # true before normalisation
    assert abs(claims.inner_products(claims.unit_columns(M)).item()) > delta * 1.0001
    M = two_images(claims.jl_epsilon(delta))
    worst = abs(claims.inner_products(claims.unit_columns(M)).item())
    assert worst == pytest.approx(delta, rel=1e-9)  # so no larger epsilon would do


def test_hint_fails_for_some_gaussian_map_and_the_angle_lemma_for_none(rng):
    above_hint = 0
    for _ in range(4000):
        M = claims.jl_map(20, 2, 0.25, rng)
        epsilon = claims.distortion(M)
        if epsilon < 0.5:
            cosine = claims.inner_products(claims.unit_columns(M)).item()
            assert abs(M[:, 0] @ M[:, 1]) <= 2 * epsilon + ROUNDING
            assert -2 * epsilon / (1 - epsilon) <= cosine <= 2 * epsilon / (1 + epsilon)
            above_hint += cosine < -2 * epsilon
    assert above_hint > 0


def test_jl_lemma_with_its_constant_follows_from_the_scaled_gaussian_map():
    for epsilon in np.linspace(0.01, 0.99, 99):
        r = math.atanh(epsilon) / epsilon
        assert r * (1 - epsilon) <= 1 <= r * (1 + epsilon)
        rates = [(r * (1 + s) - 1 - math.log(r * (1 + s))) / 2 for s in (epsilon, -epsilon)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-6)
        assert rates[0] >= epsilon**2 / 4 * (1 - ROUNDING)
        for points in (2, 3, 10, 1e4, 1e9):
            k = claims.CONSTANT["JLConstant"] * math.log(points) / epsilon**2
            assert claims.jl_failure(points, k, epsilon) < 1
            assert points * (points - 1) * math.exp(-k * epsilon**2 / 4) < 1
    assert claims.jl_failure(1e4, k=7.5 * math.log(1e4) / 0.01**2, epsilon=0.01) > 1
    usual = (0.9 - math.log(1.9)) / 2  # the unscaled map: the same argument is not enough
    k = claims.CONSTANT["JLConstant"] * math.log(1e4) / 0.9**2
    assert 1e4 * (1e4 - 1) / 2 * math.exp(-k * usual) > 1


@pytest.mark.parametrize(("delta", "n"), [(0.3, 1500), (0.5, 800), (0.9, 300)])
def test_jl_vectors_are_unit_distinct_and_almost_orthogonal(delta, n, rng):
    epsilon, N = claims.jl_epsilon(delta), claims.jl_vector_count(n, delta)
    assert claims.jl_dimension(N + 1, epsilon) <= n < claims.jl_dimension(N + 2, epsilon)
    for _ in range(20):
        M = claims.jl_map(n, N, epsilon, rng)
        if claims.distortion(M) <= epsilon:
            break
    assert claims.distortion(M) <= epsilon  # such a map exists
    U = claims.unit_columns(M)
    np.testing.assert_allclose((U**2).sum(0), 1)
    assert abs(claims.inner_products(U)).max() <= delta
    assert U.shape[1] == N >= claims.vector_count_bound(n, delta)
    assert len({column.tobytes() for column in U.T}) == N


def test_number_of_vectors_is_at_least_the_printed_bound_for_every_dimension():
    for delta in np.linspace(0.01, 0.999, 60):
        for n in [*range(1, 200), *range(200, 20_000, 97)]:
            if n * delta**2 > 3000:
                break
            size = max(n, claims.jl_vector_count(n, delta))
            assert size >= claims.vector_count_bound(n, delta)


def test_constant_of_the_theorem_follows_from_those_of_the_lemma():
    assert claims.CONSTANT["VectorsConstant"] == pytest.approx(
        claims.CONSTANT["JLConstant"] * (claims.CONSTANT["JLShift"] + 1) ** 2
    )
    H = np.linspace(1, 50, 100_001)
    ratio = np.maximum(1, np.floor(H) - 1) / H
    assert ratio.min() == pytest.approx(1 / claims.CONSTANT["VectorsFactor"], rel=1e-3)


def test_growth_is_exponential_in_the_dimension():
    counts = [claims.jl_vector_count(n, 0.5) for n in (1000, 2000, 3000)]
    ratio = math.exp(1000 * claims.jl_epsilon(0.5) ** 2 / claims.CONSTANT["JLConstant"])
    assert counts[1] / counts[0] == pytest.approx(ratio, rel=0.02)
    assert counts[2] / counts[1] == pytest.approx(ratio, rel=0.02)


def test_random_sign_vectors_are_almost_orthogonal_with_the_better_constant(rng):
    n, delta = 300, 0.3
    N = claims.sign_vector_count(n, delta)
    assert claims.vector_count_bound(n, delta) < N
    for _ in range(20):
        U = rng.choice([-1.0, 1.0], (n, N)) / math.sqrt(n)
        if abs(claims.inner_products(U)).max() <= delta:
            break
    assert abs(claims.inner_products(U)).max() <= delta
    np.testing.assert_allclose((U**2).sum(0), 1)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
def test_random_sign_union_bound_is_below_one_and_would_not_be_with_a_smaller_constant(delta):
    for n in (1, 10, 100, 1000):
        N = claims.sign_vector_count(n, delta)
        assert N * (N - 1) * math.exp(-n * delta**2 / 2) < 1
    n = math.ceil(100 / delta**2)
    smaller = math.exp(n * delta**2 / (0.9 * claims.CONSTANT["SignVectorsConstant"]))
    assert smaller * (smaller - 1) * math.exp(-n * delta**2 / 2) > 1


# --- the figures ----------------------------------------------------------------------------


def test_figures_are_the_ones_that_the_text_includes(tmp_path):
    included = set(re.findall(r"\\includegraphics\{([\w-]+)\}", TEXT))
    assert included == set(figures.FIGURES)
    figures.main(tmp_path / "one")
    figures.main(tmp_path / "two")
    for name in included:
        content = (tmp_path / "one" / f"{name}.pdf").read_bytes()
        assert content.startswith(b"%PDF")
        assert content == (tmp_path / "two" / f"{name}.pdf").read_bytes()
