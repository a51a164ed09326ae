"""Questions 1.1 and 1.2: gradients of the ReLU chain and of the sigmoid network."""

import math
from itertools import product

import claims
import numpy as np
import proof_figures
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit

ROUNDING = 1e-12  # relative; nothing here is compared by an absolute difference


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


# --- 1.1 ReLU chains ------------------------------------------------------------------------


def random_chains(rng, count=200):
    """Pairs (x, w) with signs, zeros and kinks among them."""
    for _ in range(count):
        w = rng.normal(0, 1.5, rng.integers(1, 9))
        w *= rng.random(len(w)) > 0.1
        if rng.random() < 0.5:
            w[1:] = abs(w[1:])
        yield float(rng.choice([-1.3, -1e-3, 0.0, 1e-3, 2.0])), w.tolist()


def test_backpropagation_returns_the_product_of_weights_and_slopes_at_every_layer(rng):
    for x, w in random_chains(rng):
        layers = [torch.tensor(x, dtype=torch.float64, requires_grad=True)]
        for w_i in w:
            layers.append(torch.relu(w_i * layers[-1]))
        gradients = torch.autograd.grad(layers[-1], layers[:-1])
        assert_allclose(layers[-1].item(), claims.relu_chain(x, w))
        for j, gradient in enumerate(gradients):
            assert_allclose(gradient.item(), claims.relu_chain_gradient(x, w, j=j))


def test_gradient_at_every_layer_is_bounded_by_the_product_of_the_later_weights(rng):
    for x, w in random_chains(rng):
        for slope, j in product((0, 0.3, 1), range(len(w))):
            gradient = claims.relu_chain_gradient(x, w, slope, j)
            assert abs(gradient) <= claims.relu_chain_bound(w, j) * (1 + ROUNDING)


def test_bounds_are_attained_by_positive_weights_at_every_layer(rng):
    w = rng.uniform(0.5, 2, 6).tolist()
    for j in range(6):
        assert_allclose(claims.relu_chain_gradient(0.7, w, j=j), claims.relu_chain_bound(w, j))


def test_bound_needs_slopes_between_zero_and_one():
    assert abs(claims.relu_chain_gradient(0, [1, 1], slope_at_zero=2)) > 1


def test_derivative_away_from_zero_has_the_closed_form_for_every_slope(rng):
    for x, w in random_chains(rng):
        if x == 0:
            continue
        derivative = claims.relu_chain_derivative(x, w)
        change = claims.relu_chain(1.25 * x, w) - claims.relu_chain(0.75 * x, w)
        assert_allclose(change / (0.5 * x), derivative, rtol=1e-9)  # linear on each side of 0
        assert math.isclose(abs(derivative), claims.relu_chain_bound(w)) or derivative == 0
        for slope in (0, 0.3, 1):
            assert_allclose(claims.relu_chain_gradient(x, w, slope), derivative)


def test_derivative_is_the_product_exactly_for_the_signs_of_the_proposition(rng):
    for signs in product([-1, 1], repeat=5):
        x, *w = (s * v for s, v in zip(signs, rng.uniform(0.5, 2, 5), strict=True))
        alive = w[0] * x > 0 and min(w[1:]) > 0
        assert_allclose(claims.relu_chain_gradient(x, w), math.prod(w) if alive else 0)


def test_unit_weights_give_gradient_one_or_zero_at_every_depth():
    for n in (1, 10, 100):
        assert claims.relu_chain_gradient(0.7, [1.0] * n) == 1
        assert claims.relu_chain_gradient(-0.7, [1.0] * n, slope_at_zero=1) == 0


@pytest.mark.parametrize(
    ("weights", "gradient", "bound"),
    [
        (lambda n: [0.5] * n, lambda n: 2.0**-n, lambda n: 2.0**-n),
        (lambda n: [2.0] * n, lambda n: 2.0**n, lambda n: 2.0**n),
        (lambda n: [2.0, 0.5] * (n // 2) + [2.0] * (n % 2), lambda n: 1 + n % 2, None),
        (
            lambda n: [math.exp(-(2.0**-i)) for i in range(1, n + 1)],
            lambda n: math.exp(2.0**-n - 1),
            None,
        ),
        (lambda n: [2.0, -1.0] + [2.0] * (n - 2), lambda n: 0.0, lambda n: 2.0 ** (n - 1)),
    ],
    ids=["vanishes", "explodes", "neither", "below-one", "dead"],
)
def test_examples_of_the_table(weights, gradient, bound):
    for n in range(2, 12):
        assert_allclose(claims.relu_chain_gradient(1.0, weights(n)), gradient(n))
        assert_allclose(claims.relu_chain_bound(weights(n)), (bound or gradient)(n))


def test_gradient_at_zero_depends_on_the_convention():
    assert claims.relu_chain_gradient(0, [1, -1], slope_at_zero=0) == 0
    assert claims.relu_chain_gradient(0, [1, -1], slope_at_zero=0.5) == -0.25  # yet f = 0
    assert [claims.relu_chain(x, [1, -1]) for x in (-1, 0, 1)] == [0, 0, 0]


# --- 1.2 Sigmoid network --------------------------------------------------------------------


def test_sigmoid_slope_is_largest_at_zero_only():
    z = np.linspace(-30, 30, 60_001)
    slope = expit(z) * expit(-z)
    assert slope.min() > 0
    assert_allclose(slope.max(), 1 / 4, rtol=1e-15)
    assert (slope[abs(z) > 1e-3] < 1 / 4).all()


def test_rnn_jacobian_is_the_derivative_that_autograd_finds(rng):
    W, x_1 = proof_figures.random_rnn(5, rng)

    def network(x):
        for _ in range(3):
            x = torch.sigmoid(torch.as_tensor(W) @ x)
        return x

    expected = torch.autograd.functional.jacobian(network, torch.as_tensor(x_1))
    assert_allclose(claims.rnn_jacobian(W, x_1, 4), expected, rtol=1e-10)


def test_rnn_jacobian_is_within_its_bound_and_above_zero_where_claimed(rng):
    for _ in range(100):
        d, scale = int(rng.integers(1, 9)), rng.choice([0.5, 1, 1, 30])
        W, x_1 = proof_figures.random_rnn(d, rng)
        W, x_1 = scale * W, x_1 * rng.choice([0, 1, 30])
        for n in range(1, 9):
            largest = np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2)
            assert 0 <= largest <= claims.rnn_bound(n, scale / 4) * (1 + ROUNDING)
            if scale == 1:
                assert largest <= claims.rnn_bound(n) * (1 + ROUNDING)
                assert largest > 0 or (n > 2 and d > 1)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_rnn_bound_is_attained_for_every_number_of_steps(d):
    W, x_1 = claims.rnn_extremal(d)
    assert_allclose(np.linalg.norm(W, 2), 1 / 4)
    for n in range(1, 20):
        largest = np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2)
        assert_allclose(largest, (1 / 16) ** (n - 1), rtol=1e-10)
        assert_allclose(largest, claims.rnn_bound(n), rtol=1e-10)
        larger = np.linalg.norm(claims.rnn_jacobian(3 * W, x_1, n), 2)
        assert_allclose(larger, claims.rnn_bound(n, 3 / 4), rtol=1e-10)


def test_rnn_bound_is_nearly_reached_by_maximising_over_weights_and_input():
    """Ascent from random starts, without knowing the extremal matrix."""
    n, best = 4, 0.0
    for seed in range(2):
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
    x_1 = np.linspace(-50, 50, 401)
    for w in (-0.25, 0.25):
        W = np.array([[w]])
        largest = {
            n: np.array([abs(claims.rnn_jacobian(W, np.array([x]), n)).item() for x in x_1])
            for n in (1, 2, 3, 4)
        }
        assert (largest[1] == 1).all()
        assert (x_1[largest[2] >= claims.rnn_bound(2) * (1 - ROUNDING)] == 0).tolist() == [True]
        for n in (3, 4):
            assert (largest[n] < claims.rnn_bound(n) * 0.999).all()


def test_rnn_jacobian_can_be_zero_from_three_positions_on():
    W, x_1 = np.array([[0, 1 / 4], [0, 0]]), np.array([0.3, -0.7])
    assert np.linalg.norm(claims.rnn_jacobian(W, x_1, 2), 2) > 0
    assert not claims.rnn_jacobian(W, x_1, 3).any()


def test_rnn_jacobian_comes_arbitrarily_close_to_zero():
    for d, n, a in product([1, 4], [2, 3], [10.0, 40.0]):
        largest = np.linalg.norm(claims.rnn_jacobian(np.eye(d) / 4, np.full(d, a), n), 2)
        assert 0 < largest <= expit(a / 4) * expit(-a / 4) / 4 * (1 + 1e-9)


def test_rnn_gradient_explodes_only_beyond_a_singular_value_of_four():
    W, x_1 = claims.rnn_extremal(2)
    assert np.linalg.norm(claims.rnn_jacobian(1.1 * W, x_1, 3), 2) > claims.rnn_bound(3)
    assert_allclose(np.linalg.norm(claims.rnn_jacobian(16 * W, x_1, 9), 2), 1)
    assert np.linalg.norm(claims.rnn_jacobian(20 * W, x_1, 9), 2) > 5
