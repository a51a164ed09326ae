"""The objects of Questions 1 and 2, and the bounds that are proved for them.

``a4-writeup.tex`` prints the bounds, ``tests/test_proofs.py`` checks them and ``figures.py``
draws them. All three take the constants from ``sections/constants.tex``. Symbols are those of
the text; arrays are float64 unless a caller passes something else.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit, lambertw, softmax

CONSTANTS_FILE = Path(__file__).parent / "sections" / "constants.tex"
CONSTANT = {
    name: int(value)
    for name, value in re.findall(
        r"^\\newcommand\{\\(\w+)\}\{(\d+)\}", CONSTANTS_FILE.read_text(encoding="utf-8"), re.M
    )
}

# --- 1.1 A chain of ReLU units --------------------------------------------------------------


def relu_chain(x, weights):
    """Return f(x) for the scalar network h_i = ReLU(w_i h_{i-1}), h_0 = x."""
    for w in weights:
        x = np.maximum(w * x, 0.0)
    return x


def relu_chain_gradient(x, weights, slope_at_zero=0.0):
    """Return what backpropagation computes for df/dx: the product of the w_i s_i.

    Args:
        x: the scalar input.
        weights: w_1, ..., w_n.
        slope_at_zero: the number in [0, 1] that stands for the derivative of ReLU at 0.
    """
    gradient = 1.0
    for w in weights:
        z = w * x
        gradient *= w * (slope_at_zero if z == 0 else float(z > 0))
        x = max(z, 0.0)
    return gradient


def relu_chain_derivative(x, weights):
    """Return df/dx for x != 0, from the closed form of Theorem 1 (b)."""
    alive = weights[0] * x > 0 and all(w > 0 for w in weights[1:])
    return math.prod(weights) if alive else 0.0


def relu_chain_bound(weights):
    """Return the product of the |w_i|."""
    return math.prod(abs(w) for w in weights)


# --- 1.2 A sigmoid network with one weight matrix -------------------------------------------


def rnn_jacobian(W, x_1, n):
    """Return the Jacobian dx_n/dx_1 of x_{t+1} = sigmoid(W x_t), a [d, d] matrix."""
    jacobian, x = np.eye(len(x_1)), x_1
    for _ in range(n - 1):
        x = expit(W @ x)
        jacobian = (x * (1 - x))[:, None] * W @ jacobian
    return jacobian


def rnn_bound(n):
    """Return (1/16)^(n-1)."""
    return (1 / CONSTANT["JacobianDecay"]) ** (n - 1)


def rnn_extremal(d):
    """Return W and x_1 for which the bound is an equality for every n (d >= 2)."""
    v = np.zeros(d)
    v[:2] = np.array([1, -1]) / math.sqrt(2)
    return np.outer(v, v) / CONSTANT["LargestSingularValue"], np.zeros(d)


# --- 1.3 Attention in linear time -----------------------------------------------------------


def kernel_attention(similarity, V):
    """Return the rows alpha_i from the [n, n] matrix of sim(Q_i, K_j): the quadratic form."""
    return (similarity @ V) / similarity.sum(1)[:, None]


def linear_attention(phi_Q, phi_K, V):
    """Return the rows alpha_i without an [n, n] matrix; numpy arrays or torch tensors.

    Args:
        phi_Q: features of the queries, [n, m].
        phi_K: features of the keys, [n, m].
        V: values, [n, d].
    """
    S = phi_K.T @ V  # [m, d]
    z = phi_K.sum(0)[:, None]  # [m, 1]
    return (phi_Q @ S) / (phi_Q @ z)


def causal_linear_attention(phi_Q, phi_K, V):
    """Return the rows alpha_i when position i attends to positions 1, ..., i only."""
    S, z = np.zeros((phi_K.shape[1], V.shape[1])), np.zeros(phi_K.shape[1])
    rows = []
    for query, key, value in zip(phi_Q, phi_K, V, strict=True):
        S = S + np.outer(key, value)
        z = z + key
        rows.append(query @ S / (query @ z))
    return np.stack(rows)


def linear_attention_products(n, m, d):
    """Return the number of multiplications of `linear_attention`, without phi itself."""
    return CONSTANT["KernelProducts"] * n * m * d + n * m


def positive_features(x, directions):
    """Return random features with E[phi(q).phi(k)] = exp(q.k) (Choromanski et al., 2021).

    Args:
        x: queries or keys, [n, d].
        directions: one standard normal direction a row, [m, d].
    """
    exponent = x @ directions.T - (x**2).sum(1, keepdims=True) / 2
    return np.exp(exponent) / math.sqrt(len(directions))


def positive_features_relative_error(q, k, m):
    """Return the relative standard deviation of the estimate of exp(q.k)."""
    return math.sqrt((math.exp(((q + k) ** 2).sum()) - 1) / m)


def low_rank_attention(L, sigma, R, V):
    """Return P V for P = L diag(sigma) R^T, multiplied from the right.

    Args:
        L: left singular vectors, [n, k].
        sigma: singular values, [k].
        R: right singular vectors, [n, k].
        V: values, [n, d].
    """
    return L @ (sigma[:, None] * (R.T @ V))


def projected_attention(Q, K, V, C, D):
    """Return Q (C K)^T (D V) with C and D of shape [k, n], and no [n, n] matrix."""
    return (Q @ (C @ K).T) @ (D @ V)


# --- 1.4 Relative attention -----------------------------------------------------------------


class RelativeAttention(NamedTuple):
    """Parameters of RelAttnLayer: three scalars and the sequence p, as a function."""

    w_q: float
    w_k: float
    w_v: float
    p: Callable[[np.ndarray], np.ndarray]

    def weights(self, x):
        """Return softmax(alpha), [n, n], for x of shape [n] and d_k = 1."""
        i = np.arange(len(x))
        alpha = np.outer(self.w_q * x, self.w_k * x) + self.p(i[:, None] - i[None, :])
        return softmax(alpha, axis=1)

    def __call__(self, x):
        """Return RelAttnLayer(x), [n]."""
        return self.weights(x) @ (self.w_v * x)


def convolution_layer(P):
    """Return the layer of 1.4.1; P is the penalty, `math.inf` for the exact layer."""
    before = math.log(CONSTANT["ConvWeightBefore"] / CONSTANT["ConvWeightAfter"])

    def p(m):
        return np.select([m == 1, m == -1], [before, 0.0], -P)

    return RelativeAttention(0.0, 0.0, float(CONSTANT["ConvSum"]), p)


def convolution(x):
    """Return 2 x_{i-1} + x_{i+1} for i = 2, ..., n-1."""
    return CONSTANT["ConvWeightBefore"] * x[:-2] + CONSTANT["ConvWeightAfter"] * x[2:]


def convolution_sharp_bound(n, X, P):
    """Return the largest error of 1.4.1 over all x with 0 <= x_j <= X."""
    leak = (n - 2) * math.exp(-P)
    return CONSTANT["ConvSum"] * leak * X / (CONSTANT["ConvSum"] + leak)


def convolution_bound(n, X, P):
    """Return (n - 2) X e^{-P}."""
    return (n - 2) * X * math.exp(-P)


def max_pool_layer(k, beta, P):
    """Return the layer of 1.4.2 for a window of 2k + 1."""
    return RelativeAttention(1.0, beta, 1.0, lambda m: np.where(abs(m) <= k, 0.0, -P))


def max_pool(x, k):
    """Return the largest entry of each full window, i = k+1, ..., n-k."""
    return np.lib.stride_tricks.sliding_window_view(x, 2 * k + 1).max(1)


def max_pool_window_bound(k, beta, x_i):
    """Return W(2k/e) / (beta x_i), the sharp bound inside the window (P infinite)."""
    return lambertw(2 * k / math.e).real / (beta * x_i)


def max_pool_simple_bound(k, beta, x_i):
    """Return 2k / (e beta x_i)."""
    return 2 * k / (math.e * beta * x_i)


def max_pool_leak_bound(n, k, beta, X, P):
    """Return the bound on the total weight outside the window, for any x_i in [0, X]."""
    return (n - 2 * k - 1) * math.exp(beta * X**2 / CONSTANT["LeakCurvature"] - P)


def max_pool_bound(n, k, beta, x_i, X, P):
    """Return the bound on |output - maximum| for finite P."""
    return max_pool_window_bound(k, beta, x_i) + X * max_pool_leak_bound(n, k, beta, X, P)


def max_pool_parameters(n, k, x_min, X, error):
    """Return beta and P for an error of at most `error` where x_i >= x_min (k >= 1)."""
    beta = 2 * max_pool_window_bound(k, 1.0, x_min) / error
    return beta, beta * X**2 / CONSTANT["LeakCurvature"] + math.log(2 * n * X / error)


# --- 2 Almost orthogonal vectors ------------------------------------------------------------


def jl_epsilon(delta):
    """Return the distortion that makes normalised images delta-almost orthogonal."""
    return delta / (CONSTANT["JLShift"] + delta)


def jl_dimension(points, epsilon):
    """Return the smallest dimension that the lemma allows for so many points."""
    return math.ceil(CONSTANT["JLConstant"] * math.log(points) / epsilon**2)


def jl_map(k, d, epsilon, rng):
    """Draw the Gaussian [k, d] matrix of the proof of the lemma."""
    return rng.standard_normal((k, d)) / math.sqrt(k * math.atanh(epsilon) / epsilon)


def jl_failure(points, k, epsilon):
    """Return the proof's bound on the probability that `jl_map` fails for so many points."""
    r = math.atanh(epsilon) / epsilon
    rate = (r - 1 - math.log(r) - math.log(1 - epsilon**2) / 2) / 2
    return points * (points - 1) * math.exp(-k * rate)


def distortion(M):
    """Return the smallest epsilon of the lemma for M and the points 0, e_1, ..., e_N."""
    gram = M.T @ M
    squared = np.diag(gram)
    distance = squared[:, None] + squared[None, :] - 2 * gram
    pairs = distance[~np.eye(len(gram), dtype=bool)] / 2
    return float(abs(np.concatenate([squared, pairs]) - 1).max())


def unit_columns(M):
    """Return the columns of M divided by their lengths."""
    return M / np.linalg.norm(M, axis=0)


def inner_products(U):
    """Return u_i . u_j for every pair i < j of columns of U."""
    return (U.T @ U)[np.triu_indices(U.shape[1], 1)]


def jl_vector_count(n, delta):
    """Return the number N of vectors that the lemma gives in n dimensions (may be <= 0)."""
    exponent = n * jl_epsilon(delta) ** 2 / CONSTANT["JLConstant"]
    return math.floor(math.exp(exponent)) - 1


def vector_count_bound(n, delta):
    """Return the guaranteed size of U, e^{n delta^2 / 72} / 3."""
    return math.exp(n * delta**2 / CONSTANT["VectorsConstant"]) / CONSTANT["VectorsFactor"]


def sign_vector_count(n, delta):
    """Return the number of random sign vectors that the direct argument allows."""
    return math.floor(math.exp(n * delta**2 / CONSTANT["SignVectorsConstant"]))
