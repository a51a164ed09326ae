"""Question 2: almost orthogonal vectors."""

import math

import claims
import numpy as np
import proof_figures
import pytest
from numpy.testing import assert_allclose

ROUNDING = 1e-12


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


def test_lemma_is_the_one_that_the_handout_gives():
    assert_allclose(claims.jl_dimension(100, 0.1), 8 * math.log(100) / 0.01)


@pytest.mark.parametrize("delta", [0.05, 0.3, 0.9, 0.999])
def test_number_of_vectors_is_the_largest_that_the_lemma_allows(delta):
    epsilon = claims.jl_epsilon(delta)
    for n in np.geomspace(10, 1500, 9) / delta**2:
        N = claims.jl_vector_count(n, delta)
        assert claims.jl_dimension(N + 1, epsilon) <= n * (1 + ROUNDING)
        assert claims.jl_dimension(N + 2, epsilon) > n


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 1 / 3])
def test_cosine_bounds_hold_for_all_allowed_images_and_are_attained(epsilon, rng):
    squared = rng.uniform(1 - epsilon, 1 + epsilon, (2, 100_000))
    distance = rng.uniform(2 - 2 * epsilon, 2 + 2 * epsilon, 100_000)
    dot = (squared.sum(0) - distance) / 2
    assert abs(dot).max() <= 2 * epsilon
    cosine = abs(dot) / np.sqrt(squared.prod(0))
    assert cosine.max() <= claims.cosine_bound(epsilon)
    worst = claims.worst_images(epsilon)
    assert claims.distortion(worst) <= epsilon * (1 + 1e-9)
    assert_allclose(-worst[:, 0] @ worst[:, 1], 2 * epsilon)
    attained = abs(claims.inner_products(claims.unit_columns(worst)).item())
    assert_allclose(attained, claims.cosine_bound(epsilon))


@pytest.mark.parametrize("delta", [0.01, 0.3, 0.66, 0.9, 0.999])
def test_hint_fails_for_unit_vectors_and_a_third_of_delta_does_not(delta):
    M = claims.worst_images(min(delta / 2, 1 / 3))
    assert claims.distortion(M) <= delta / 2 * (1 + 1e-9)  # allowed by the hint's lemma
    assert abs(M[:, 0] @ M[:, 1]) <= delta * (1 + 1e-9)  # true before normalisation
    assert abs(claims.inner_products(claims.unit_columns(M)).item()) > delta * 1.0001
    assert claims.cosine_bound(claims.jl_epsilon(delta)) < delta
    assert_allclose(claims.cosine_bound(delta / (2 + delta)), delta)
    assert claims.jl_epsilon(delta) < delta / (2 + delta) < delta / 2


def test_a_third_is_the_largest_share_of_delta_that_serves_every_delta_below_one():
    assert_allclose(claims.cosine_bound(claims.jl_epsilon(1 - 1e-9)), 1, rtol=1e-8)


@pytest.mark.parametrize(("delta", "n"), [(0.5, 1200), (0.9, 400)])
def test_vectors_are_unit_distinct_and_almost_orthogonal(delta, n, rng):
    epsilon, N = claims.jl_epsilon(delta), claims.jl_vector_count(n, delta)
    assert N > 50
    for _ in range(20):
        M = claims.jl_map(n, N, rng)
        if claims.distortion(M) <= epsilon:
            break
    assert claims.distortion(M) <= epsilon  # such a map exists
    U = claims.unit_columns(M)
    assert_allclose((U**2).sum(0), 1)
    assert abs(claims.inner_products(U)).max() <= claims.cosine_bound(epsilon) < delta
    assert U.shape[1] == N >= claims.vector_count_bound(n, delta)
    assert len({column.tobytes() for column in U.T}) == N


def test_distortion_is_the_smallest_epsilon_of_the_lemma(rng):
    M = rng.normal(size=(6, 4)) / math.sqrt(6)
    points = np.concatenate([np.zeros((4, 1)), np.eye(4)], axis=1)
    ratios = [
        np.sum((M @ (x - y)) ** 2) / np.sum((x - y) ** 2)
        for i, x in enumerate(points.T)
        for y in points.T[:i]
    ]
    assert_allclose(claims.distortion(M), abs(np.array(ratios) - 1).max())


def test_number_of_vectors_is_at_least_the_printed_bound_for_every_dimension():
    for delta in np.linspace(0.01, 0.999, 40):
        for n in [*range(1, 200), *range(200, 20_000, 197)]:
            if n * delta**2 > 3000:
                break
            size = max(n, claims.jl_vector_count(n, delta))
            assert size >= claims.vector_count_bound(n, delta)


def test_factor_of_a_third_is_what_the_floor_costs():
    n_delta = 72 * math.log(3) * (1 - 1e-9)  # just below H = 3, where one vector is all
    assert claims.jl_vector_count(n_delta, 1) == 1
    assert_allclose(claims.vector_count_bound(n_delta, 1), 1, rtol=1e-6)


def test_growth_is_exponential_in_the_dimension():
    counts = [claims.jl_vector_count(n, 0.9) for n in (1000, 2000, 3000)]
    ratio = math.exp(1000 * 0.9**2 / 72)
    assert_allclose(counts[1] / counts[0], ratio, rtol=1e-3)
    assert_allclose(counts[2] / counts[1], ratio, rtol=1e-3)


def test_random_sign_vectors_are_almost_orthogonal_with_the_better_constant(rng):
    n, delta = 300, 0.3
    N = claims.sign_vector_count(n, delta)
    assert claims.vector_count_bound(n, delta) < N
    for _ in range(20):
        U = rng.choice([-1.0, 1.0], (n, N)) / math.sqrt(n)
        if abs(claims.inner_products(U)).max() <= delta:
            break
    assert abs(claims.inner_products(U)).max() <= delta
    assert_allclose((U**2).sum(0), 1)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
def test_random_sign_union_bound_is_just_below_one(delta):
    for n in (1, 10, 100, 1000):
        N = claims.sign_vector_count(n, delta)
        assert N * (N - 1) * math.exp(-n * delta**2 / 2) < 1
    n = math.ceil(100 / delta**2)
    N = claims.sign_vector_count(n, delta)
    assert_allclose(N * (N - 1) * math.exp(-n * delta**2 / 2), 1, rtol=1e-6)


def test_hoeffding_bound_holds_for_the_exact_distribution():
    for n, delta in ((5, 0.5), (40, 0.3), (40, 0.9)):
        tail = sum(math.comb(n, s) for s in range(n + 1) if abs(2 * s - n) > n * delta) / 2**n
        assert 0 < tail <= 2 * math.exp(-n * delta**2 / 2)


def test_pairs_of_the_figure_are_allowed_and_exceed_only_the_hint(rng):
    epsilon = rng.uniform(0, 1 / 3, 3000)
    cosine = proof_figures.allowed_pairs(epsilon, rng)
    assert (cosine <= claims.cosine_bound(epsilon)).all()
    assert (cosine <= 3 * epsilon).all()
    assert (cosine > 2 * epsilon).any()
