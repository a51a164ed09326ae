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

ROUNDING = 1e-12


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


def random_chains(rng):
    """Pairs (x, w) with signs, zeros and kinks among them."""
    for _ in range(200):
        w = rng.normal(0, 1.5, rng.integers(1, 9)) * (rng.random() > 0.1)
        if rng.random() < 0.5:
            w[1:] = abs(w[1:])
        yield float(rng.choice([-1.3, -1e-3, 0.0, 1e-3, 2.0])), w.tolist()


def test_chain_gradients_are_those_of_autograd(rng):
    for x, w in random_chains(rng):
        layers = [torch.tensor(x, dtype=torch.float64, requires_grad=True)]
        for w_i in w:
            layers.append(torch.relu(w_i * layers[-1]))
        gradients = torch.autograd.grad(layers[-1], layers[:-1])
        assert_allclose(layers[-1].item(), claims.relu_chain(x, w))
        for j, gradient in enumerate(gradients):
            assert_allclose(gradient.item(), claims.relu_chain_gradient(x, w, j=j))


def test_chain_bound_holds_at_every_layer_and_for_every_slope_at_zero(rng):
    for x, w in random_chains(rng):
        for slope, j in product((0, 0.3, 1), range(len(w))):
            gradient = abs(claims.relu_chain_gradient(x, w, slope, j))
            assert 0 <= gradient <= claims.relu_chain_bound(w, j) * (1 + ROUNDING)


def test_gradient_away_from_zero_is_the_derivative_and_has_the_closed_form(rng):
    for x, w in random_chains(rng):
        if x != 0:
            change = claims.relu_chain(1.25 * x, w) - claims.relu_chain(0.75 * x, w)
            active = w[0] * x > 0 and all(w_i > 0 for w_i in w[1:])
            for slope in (0, 0.3, 1):
                gradient = claims.relu_chain_gradient(x, w, slope)
                assert_allclose(gradient, change / (0.5 * x), rtol=1e-9)
                assert_allclose(gradient, math.prod(w) if active else 0)


def test_gradient_at_zero_depends_on_the_convention():
    assert claims.relu_chain_gradient(0, [1, -1], slope_at_zero=0) == 0
    assert claims.relu_chain_gradient(0, [1, -1], slope_at_zero=0.5) == -0.25  # yet f = 0


def test_examples_vanish_explode_or_do_neither():
    gradients = {
        name: [claims.relu_chain_gradient(1, (w * 40)[:n]) for n in (39, 40)]
        for name, w in claims.EXAMPLES.items()
    }
    assert gradients["vanishes"] == [2.0**-39, 2.0**-40]
    assert gradients["explodes"] == [2.0**39, 2.0**40]
    assert gradients["does neither"] == [2, 1]


def test_weights_below_one_need_not_make_the_gradient_vanish():
    for n in (1, 10, 50):
        w = [math.exp(-(2.0**-i)) for i in range(1, n + 1)]
        gradient = claims.relu_chain_gradient(1, w)
        assert max(w) < 1
        assert_allclose(gradient, math.exp(2.0**-n - 1))
        assert gradient >= 1 / math.e


def test_rnn_jacobian_is_that_of_autograd(rng):
    W, x_1 = proof_figures.random_rnn(5, rng)

    def network(x):
        for _ in range(3):
            x = torch.sigmoid(torch.as_tensor(W) @ x)
        return x

    expected = torch.autograd.functional.jacobian(network, torch.as_tensor(x_1))
    assert_allclose(claims.rnn_jacobian(W, x_1, 4), expected, rtol=1e-10)


def test_rnn_bound_holds_for_every_weight_matrix(rng):
    for _ in range(100):
        W, x_1 = proof_figures.random_rnn(int(rng.integers(1, 9)), rng)
        scale, x_1 = rng.choice([0.5, 1, 30]), x_1 * rng.choice([0, 1, 30])
        for n in range(1, 9):
            largest = np.linalg.norm(claims.rnn_jacobian(scale * W, x_1, n), 2)
            assert 0 <= largest <= claims.rnn_bound(n, scale / 4) * (1 + ROUNDING)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_rnn_bound_is_attained_for_every_number_of_steps(d):
    W, x_1 = claims.rnn_extremal(d)
    assert_allclose(np.linalg.norm(W, 2), 1 / 4)
    for n in range(1, 20):
        largest = np.linalg.norm(claims.rnn_jacobian(W, x_1, n), 2)
        assert_allclose(largest, (1 / 16) ** (n - 1), rtol=1e-10)


def test_rnn_gradient_explodes_only_beyond_a_singular_value_of_four():
    W, x_1 = claims.rnn_extremal(2)
    assert_allclose(np.linalg.norm(claims.rnn_jacobian(16 * W, x_1, 9), 2), 1)
    assert np.linalg.norm(claims.rnn_jacobian(20 * W, x_1, 9), 2) > 5


def test_sigmoid_slope_is_at_most_a_quarter_and_only_at_zero():
    z = np.linspace(-30, 30, 60_001)
    slope = expit(z) * expit(-z)
    assert_allclose(slope.max(), 1 / 4, rtol=1e-15)
    assert slope.min() > 0
    assert (slope[abs(z) > 1e-3] < 1 / 4).all()
