"""Question 1.3: attention in linear time, and what it costs."""

import math
from itertools import combinations, pairwise

import claims
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax

ROUNDING = 1e-12


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


def elu_features(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def square_features(x):
    return (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def plain_attention(Q, K, V):
    """Attention with exp(q.q'), without a projection or a mask."""
    return claims.kernel_attention(np.exp(Q @ K.T), V)


@pytest.mark.parametrize("features", [elu_features, square_features])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 3), (64, 8)])
def test_linear_attention_equals_the_double_sum_of_the_handout(features, n, d, rng):
    Q, K, V = rng.normal(size=(3, n, d))
    phi_Q, phi_K = features(Q), features(K)
    similarity = phi_Q @ phi_K.T
    expected = [
        sum(similarity[i, j] * V[j] for j in range(n)) / sum(similarity[i]) for i in range(n)
    ]
    assert_allclose(claims.kernel_attention(similarity, V), expected, rtol=1e-9)
    assert_allclose(claims.linear_attention(phi_Q, phi_K, V), expected, rtol=1e-8)


def test_causal_linear_attention_equals_the_masked_form_at_the_same_cost(rng):
    Q, K, V = rng.normal(size=(3, 30, 4))
    phi_Q, phi_K = elu_features(Q), elu_features(K)
    expected = claims.kernel_attention(np.tril(phi_Q @ phi_K.T), V)
    assert_allclose(claims.causal_linear_attention(phi_Q, phi_K, V), expected, rtol=1e-9)
    counted = claims.count_operations(claims.causal_linear_attention, phi_Q, phi_K, V)
    assert counted == (claims.linear_attention_products(30, 4, 4), 30 * 4)


@pytest.mark.parametrize(
    ("n", "m", "d"), [(1, 1, 1), (64, 32, 16), (128, 5, 7), (1024, 32, 16)]
)
def test_linear_attention_costs_as_many_operations_as_stated(n, m, d):
    arrays = np.ones((n, m)), np.ones((n, m)), np.ones((n, d))
    counted = claims.count_operations(claims.linear_attention, *arrays)
    assert counted == (claims.linear_attention_products(n, m, d), n * d)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (20, 7), (128, 16)])
def test_plain_attention_costs_as_many_operations_as_stated(n, d):
    counted = claims.count_operations(plain_attention, *np.ones((3, n, d)))
    assert counted == (claims.quadratic_products(n, d), n * d)


def test_plain_attention_of_one_query_needs_two_running_sums(rng):
    n, d = 9, 4
    q, K, V = rng.standard_normal(d), *rng.standard_normal((2, n, d))
    sums = np.zeros(d + 1)  # the weighted values, and the weights
    for key, value in zip(K, V, strict=True):
        sums += np.exp(q @ key) * np.append(value, 1)
    assert_allclose(sums[:-1] / sums[-1], plain_attention(q[None], K, V)[0], rtol=1e-9)


def test_linear_cost_doubles_with_the_length_and_the_plain_cost_quadruples():
    linear = [claims.linear_attention_products(n, 32, 16) for n in (256, 512, 1024)]
    plain = [claims.quadratic_products(n, 16) for n in (256, 512, 1024)]
    assert [b / a for a, b in pairwise(linear)] == [2, 2]
    assert [b / a for a, b in pairwise(plain)] == [4, 4]


def test_linear_kernel_gives_negative_weights_and_a_zero_sum():
    keys = np.array([[1.0], [-1.0]])
    assert (np.ones((1, 1)) @ keys.T).tolist() == [[1, -1]]
    with np.errstate(invalid="ignore", divide="ignore"):
        row = claims.linear_attention(np.ones((1, 1)), keys, np.ones((2, 1)))
    assert not np.isfinite(row).any()


def test_entrywise_positive_features_give_convex_combinations(rng):
    Q, K, V = rng.normal(size=(3, 40, 5)) * 3
    rows = claims.linear_attention(elu_features(Q), elu_features(K), V)
    assert (rows >= V.min(0)).all()
    assert (rows <= V.max(0)).all()


def test_non_negative_features_can_sum_to_zero():
    similarity = square_features(np.array([[1.0, 0.0]])) @ square_features(np.eye(2)[[1, 1]]).T
    assert similarity.sum() == 0


@pytest.mark.parametrize("n", range(2, 7))
def test_softmax_weights_have_more_rank_than_fewer_features_can_give(n):
    i = np.arange(1.0, n + 1)
    kernel = np.exp(np.outer(i, i))  # Q_i = i u, K_j = j sqrt(d) u
    vandermonde = math.prod(
        math.exp(j) - math.exp(i) for i, j in combinations(range(1, n + 1), 2)
    )
    sign, log_determinant = np.linalg.slogdet(kernel)
    assert sign == 1  # so the rank is n
    assert_allclose(log_determinant, math.log(vandermonde) + i.sum(), rtol=1e-6)
    weights = kernel / kernel.sum(1, keepdims=True)
    assert np.linalg.slogdet(weights)[0] == 1


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
    error = claims.positive_features_error(np.linalg.norm(q + k), m)
    assert abs(relative.mean()) < 4 * error / math.sqrt(draws)
    assert_allclose(relative.std(), error, rtol=0.05)


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
    P = softmax(rng.normal(size=(k, n)), axis=1)[rng.permutation(n) % k]  # rows sum to 1
    L, sigma, Rt = np.linalg.svd(P)
    assert (sigma > 1e-10).sum() == k
    L, sigma, R, V = L[:, :k], sigma[:k], Rt[:k].T, rng.normal(size=(n, d))
    assert_allclose(claims.low_rank_attention(L, sigma, R, V), P @ V, rtol=1e-9)
    counted = claims.count_operations(claims.low_rank_attention, L, sigma, R, V)
    assert counted == (claims.low_rank_products(n, k, d), 0)


def test_truncated_svd_errs_by_the_next_singular_value(rng):
    P, k = softmax(rng.normal(size=(30, 30)), axis=1), 5
    L, sigma, Rt = np.linalg.svd(P)
    random, worst = rng.normal(size=(30, 4)), np.tile(Rt[k][:, None], 4)
    for V, attained in ((random, False), (worst, True)):
        truncated = claims.low_rank_attention(L[:, :k], sigma[:k], Rt[:k].T, V)
        error = np.linalg.norm(P @ V - truncated, 2)
        bound = sigma[k] * np.linalg.norm(V, 2)
        assert 0 < error <= bound * (1 + 1e-9)
        assert math.isclose(error, bound, rel_tol=1e-9) == attained


@pytest.mark.parametrize(("n", "d", "k"), [(20, 5, 2), (20, 5, 5), (4, 9, 4)])
def test_projected_attention_is_exact_and_costs_what_is_stated(n, d, k, rng):
    Q = rng.normal(size=(n, k)) @ rng.normal(size=(k, d))
    K, V = rng.normal(size=(2, n, d))
    P = Q @ K.T
    assert np.linalg.matrix_rank(P) == k
    for C in (np.linalg.svd(P)[2][:k], claims.projection(Q, K, k)):
        assert C.shape == (k, n)
        assert_allclose(claims.projected_attention(Q, K, V, C, C), P @ V, rtol=1e-8)
        counted = claims.count_operations(claims.projected_attention, Q, K, V, C, C)
        assert counted == (claims.projection_products(n, k, d), 0)


def test_projection_without_forming_p_has_orthonormal_rows_and_projects_on_the_row_space(rng):
    Q, K = rng.normal(size=(2, 30, 6))
    C = claims.projection(Q, K, 6)
    R = np.linalg.svd(Q @ K.T)[2][:6]
    assert np.linalg.norm(C @ C.T - np.eye(6)) < 1e-12
    assert np.linalg.norm(C.T @ C - R.T @ R) < 1e-10


def test_projected_attention_needs_all_k_singular_vectors(rng):
    Q, K, V = rng.normal(size=(3, 20, 5))
    C = np.linalg.svd(Q @ K.T)[2][:4]
    error = claims.projected_attention(Q, K, V, C, C) - Q @ K.T @ V
    assert np.linalg.norm(error) > 0.1


def test_associative_form_needs_no_svd(rng):
    Q, K, V = rng.normal(size=(3, 20, 5))
    counted = claims.count_operations(lambda Q, K, V: Q @ (K.T @ V), Q, K, V)
    assert counted == (2 * 20 * 5**2, 0)
    assert_allclose(Q @ (K.T @ V), Q @ K.T @ V, rtol=1e-9)
