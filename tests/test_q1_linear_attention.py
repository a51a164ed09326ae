"""Question 1.3: attention in linear time, and what it costs."""

import math

import claims
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


def elu_features(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 3), (64, 8)])
def test_linear_attention_equals_the_double_sum_of_the_handout(n, d, rng):
    Q, K, V = rng.normal(size=(3, n, d))
    phi_Q, phi_K = elu_features(Q), elu_features(K)
    expected = []
    for query in phi_Q:
        similarity = [query @ key for key in phi_K]
        expected.append(
            sum(s * v for s, v in zip(similarity, V, strict=True)) / sum(similarity)
        )
    assert_allclose(claims.kernel_attention(phi_Q @ phi_K.T, V), expected, rtol=1e-9)
    assert_allclose(claims.linear_attention(phi_Q, phi_K, V), expected, rtol=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (64, 32, 16), (128, 5, 7)])
def test_linear_attention_costs_as_many_operations_as_stated(n, m, d):
    arrays = np.ones((n, m)), np.ones((n, m)), np.ones((n, d))
    counted = claims.count_operations(claims.linear_attention, *arrays)
    assert counted == (claims.linear_attention_products(n, m, d), n * d)


def test_running_sums_give_attention_to_earlier_positions(rng):
    Q, K, V = rng.normal(size=(3, 30, 4))
    phi_Q, phi_K = elu_features(Q), elu_features(K)
    S = np.cumsum(phi_K[:, :, None] * V[:, None, :], axis=0)
    rows = [q @ s / (q @ k) for q, s, k in zip(phi_Q, S, np.cumsum(phi_K, 0), strict=True)]
    assert_allclose(rows, claims.kernel_attention(np.tril(phi_Q @ phi_K.T), V), rtol=1e-9)


@pytest.mark.parametrize("m", range(1, 6))
def test_softmax_similarities_have_more_rank_than_m_features_can_give(m):
    i = np.arange(1.0, m + 2)
    sign, log_determinant = np.linalg.slogdet(np.exp(np.outer(i, i)))
    nodes = np.exp(i)
    gaps = [math.log(nodes[b] - nodes[a]) for b in range(m + 1) for a in range(b)]
    assert sign == 1  # the rank is m + 1
    assert_allclose(log_determinant, sum(gaps) + i.sum(), rtol=1e-6)  # Vandermonde


@pytest.mark.parametrize("k", [1, 3, 10])
def test_attention_from_the_svd_is_exact_and_costs_what_is_stated(k, rng):
    n, d = 40, 6
    P = softmax(rng.normal(size=(k, n)), axis=1)[rng.permutation(n) % k]  # rows sum to 1
    L, sigma, Rt = np.linalg.svd(P)
    assert (sigma > 1e-10).sum() == k
    L, sigma, R, V = L[:, :k], sigma[:k], Rt[:k].T, rng.normal(size=(n, d))
    assert_allclose(claims.low_rank_attention(L, sigma, R, V), P @ V, rtol=1e-9)
    counted = claims.count_operations(claims.low_rank_attention, L, sigma, R, V)
    assert counted == (claims.low_rank_products(n, k, d), 0)


@pytest.mark.parametrize(("n", "d", "k"), [(20, 5, 2), (20, 5, 5), (4, 9, 4)])
def test_projected_attention_is_exact_and_costs_what_is_stated(n, d, k, rng):
    Q = rng.normal(size=(n, k)) @ rng.normal(size=(k, d))
    K, V = rng.normal(size=(2, n, d))
    C = np.linalg.svd(Q @ K.T)[2][:k]
    assert_allclose(claims.projected_attention(Q, K, V, C, C), Q @ K.T @ V, rtol=1e-8)
    counted = claims.count_operations(claims.projected_attention, Q, K, V, C, C)
    assert counted == (claims.projected_products(n, k, d), 0)


def test_projected_attention_needs_all_k_singular_vectors(rng):
    Q, K, V = rng.normal(size=(3, 20, 5))
    C = np.linalg.svd(Q @ K.T)[2][:4]
    error = claims.projected_attention(Q, K, V, C, C) - Q @ K.T @ V
    assert np.linalg.norm(error) > 0.1
