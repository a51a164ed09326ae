"""Question 2: almost orthogonal vectors."""

import math
from itertools import product

import claims
import numpy as np
import pytest
from numpy.testing import assert_allclose

ROUNDING = 1e-12


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


@pytest.mark.parametrize("delta", [0.05, 0.3, 0.9, 0.999])
def test_number_of_vectors_is_the_largest_that_the_lemma_allows(delta):
    epsilon = claims.jl_epsilon(delta)
    for n in np.geomspace(10, 1500, 9) / delta**2:
        N = claims.jl_vector_count(n, delta)
        assert claims.jl_dimension(N + 1, epsilon) <= n * (1 + ROUNDING)
        assert claims.jl_dimension(N + 2, epsilon) > n


def test_number_of_vectors_is_at_least_the_printed_bound_for_every_dimension():
    for delta in np.linspace(0.01, 0.999, 40):
        for n in [*range(1, 200), *range(200, 20_000, 197)]:
            if n * delta**2 < 3000:
                size = max(1, claims.jl_vector_count(n, delta))
                assert size >= claims.vector_count_bound(n, delta)


def test_factor_of_a_third_is_what_the_floor_costs():
    n_delta = 72 * math.log(3) * (1 - 1e-9)  # just below H = 3, where one vector is all
    assert claims.jl_vector_count(n_delta, 1) == 1
    assert_allclose(claims.vector_count_bound(n_delta, 1), 1, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 1 / 3])
def test_cosine_bound_holds_for_all_allowed_images_and_is_attained(epsilon, rng):
    squared = rng.uniform(1 - epsilon, 1 + epsilon, (2, 100_000))
    distance = rng.uniform(2 - 2 * epsilon, 2 + 2 * epsilon, 100_000)
    dot = (squared.sum(0) - distance) / 2
    assert abs(dot).max() <= 2 * epsilon
    assert (abs(dot) / np.sqrt(squared.prod(0))).max() <= claims.cosine_bound(epsilon)
    worst = claims.worst_images(epsilon)
    assert claims.distortion(worst) <= epsilon * (1 + 1e-9)
    attained = abs(claims.inner_products(claims.unit_columns(worst)).item())
    assert_allclose(attained, claims.cosine_bound(epsilon))


@pytest.mark.parametrize(("delta", "n"), [(0.5, 1200), (0.9, 400)])
def test_vectors_are_distinct_and_almost_orthogonal(delta, n, rng):
    epsilon, N = claims.jl_epsilon(delta), claims.jl_vector_count(n, delta)
    M = rng.standard_normal((n, N)) / math.sqrt(n)
    while claims.distortion(M) > epsilon:  # the lemma promises that such a map exists
        M = rng.standard_normal((n, N)) / math.sqrt(n)
    U = claims.unit_columns(M)
    assert abs(claims.inner_products(U)).max() <= claims.cosine_bound(epsilon) < delta
    assert U.shape[1] == N >= claims.vector_count_bound(n, delta)


def test_distortion_is_the_smallest_epsilon_of_the_lemma(rng):
    M = rng.normal(size=(6, 4)) / math.sqrt(6)
    points = np.concatenate([np.zeros((4, 1)), np.eye(4)], axis=1)
    ratios = [
        np.sum((M @ (x - y)) ** 2) / np.sum((x - y) ** 2)
        for i, x in enumerate(points.T)
        for y in points.T[:i]
    ]
    assert_allclose(claims.distortion(M), abs(np.array(ratios) - 1).max())


def greedy_sign_vectors(n, delta):
    """Columns with entries +-1/sqrt(n), each almost orthogonal to all before it."""
    left = np.array(list(product([-1, 1], repeat=n))).T / math.sqrt(n)
    chosen = []
    while left.size:
        chosen.append(left[:, 0])
        left = left[:, abs(chosen[-1] @ left) <= delta]
    return np.array(chosen).T


@pytest.mark.parametrize(("n", "delta"), [(1, 0.5), (5, 0.3), (10, 0.45), (12, 0.7), (12, 0.9)])
def test_greedy_choice_finds_the_promised_number_of_vectors(n, delta):
    U = greedy_sign_vectors(n, delta)
    assert abs(claims.inner_products(U)).max(initial=0) <= delta
    assert U.shape[1] >= claims.greedy_count_bound(n, delta)


def test_share_of_forbidden_sign_vectors_is_within_the_bound():
    for n, delta in ((5, 0.5), (40, 0.3), (40, 0.9)):
        tail = sum(math.comb(n, s) for s in range(n + 1) if abs(2 * s - n) > n * delta) / 2**n
        assert 0 < tail <= 2 * math.exp(-n * delta**2 / 2)


def test_powers_of_inner_products_have_the_rank_of_symmetric_tensors(rng):
    n, k, N = 3, 4, 40
    U = claims.unit_columns(rng.normal(size=(n, N)))
    gram = (U.T @ U) ** k
    rank, squares = np.linalg.matrix_rank(gram), (gram**2).sum()
    assert rank == math.comb(n + k - 1, k)
    assert np.trace(gram) ** 2 <= rank * squares
