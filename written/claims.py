"""The networks, layers, bounds and counts of Questions 1 and 2.

The report prints these formulas, and ``tests/test_printed_formulas.py`` compares the two. The
other tests check the functions, and ``proof_figures.py`` draws them. A parameter is named
after its symbol in the text (``x_max`` for x_max). Arrays are float64.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, softmax

# --- 1.1 A chain of ReLU units --------------------------------------------------------------

EXAMPLES = {  # weights that repeat, and what the gradient does as the depth grows
    "vanishes": (0.5,),
    "explodes": (2.0,),
    "does neither": (2.0, 0.5),
}


def relu_chain(x, w):
    """Return f(x) for h_0 = x and h_i = ReLU(w_i h_{i-1})."""
    for w_i in w:
        x = np.maximum(w_i * x, 0.0)
    return x


def relu_chain_gradient(x, w, slope_at_zero=0.0, j=0):
    """Return what backpropagation computes for df/dh_j: the product of the w_i s_i, i > j.

    Args:
        x: the scalar input.
        w: the weights w_1, ..., w_n.
        slope_at_zero: the slope in [0, 1] that software uses for the ReLU at 0.
        j: the layer that the gradient reaches; 0 is the input.
    """
    gradient = 1.0
    for i, w_i in enumerate(w, start=1):
        z = w_i * x
        if i > j:
            gradient *= w_i * (slope_at_zero if z == 0 else float(z > 0))
        x = max(z, 0.0)
    return gradient


def relu_chain_bound(w, j=0):
    """Return the product of the |w_i|, i > j."""
    return math.prod(abs(w_i) for w_i in w[j:])


# --- 1.2 A sigmoid network with one weight matrix -------------------------------------------


def rnn_jacobian(W, x_1, n):
    """Return the Jacobian dx_n/dx_1 of x_{t+1} = sigmoid(W x_t), a [d, d] matrix."""
    jacobian, x = np.eye(len(x_1)), x_1
    for _ in range(n - 1):
        x = expit(W @ x)
        jacobian = (x * (1 - x))[:, None] * W @ jacobian
    return jacobian


def rnn_bound(n, sigma_max=1 / 4):
    """Return the bound on the largest singular value of dx_n/dx_1."""
    return (sigma_max / 4) ** (n - 1)


def rnn_extremal(d):
    """Return W and x_1 for which the bound is an equality for every n (d >= 2)."""
    v = np.zeros(d)
    v[:2] = np.array([1, -1]) / math.sqrt(2)
    return np.outer(v, v) / 4, np.zeros(d)


# --- 1.3 Attention in linear time -----------------------------------------------------------


def kernel_attention(similarity, V):
    """Return the outputs [n, d] from the [n, n] matrix of sim(Q_i, K_j): the plain form."""
    return (similarity @ V) / similarity.sum(1)[:, None]


def linear_attention(phi_Q, phi_K, V):
    """Return the outputs [n, d] without an [n, n] matrix.

    Args:
        phi_Q: features of the queries, [n, m].
        phi_K: features of the keys, [n, m].
        V: values, [n, d].
    """
    S = phi_K.T @ V  # [m, d]
    kappa = phi_K.sum(0)[:, None]  # [m, 1]
    return (phi_Q @ S) / (phi_Q @ kappa)


def linear_attention_products(n, m, d):
    """Return the number of multiplications of `linear_attention`, without phi itself."""
    return 2 * n * m * d + n * m


def low_rank_attention(L, sigma, R, V):
    """Return P V for P = L diag(sigma) R^T, multiplied from the right.

    Args:
        L: left singular vectors, [n, k].
        sigma: singular values, [k].
        R: right singular vectors, [n, k].
        V: values, [n, d].
    """
    return L @ (sigma[:, None] * (R.T @ V))


def low_rank_products(n, k, d):
    """Return the number of multiplications of `low_rank_attention`."""
    return 2 * n * k * d + k * d


def projected_attention(Q, K, V, C, D):
    """Return Q (C K)^T (D V) with C and D of shape [k, n], and no [n, n] matrix."""
    return (Q @ (C @ K).T) @ (D @ V)


def projected_products(n, k, d):
    """Return the number of multiplications of `projected_attention`."""
    return 4 * n * k * d


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


def convolution_layer(B):
    """Return the layer of 1.4.1; B is the penalty, `math.inf` for the exact layer."""
    return RelativeAttention(
        0.0, 0.0, 3.0, lambda lag: np.select([lag == 1, lag == -1], [math.log(2), 0.0], -B)
    )


def convolution(x):
    """Return 2 x_{i-1} + x_{i+1} for i = 2, ..., n-1."""
    return 2 * x[:-2] + x[2:]


def convolution_sharp_bound(n, x_max, B):
    """Return the largest error of 1.4.1 over all x with 0 <= x_j <= x_max."""
    mu = (n - 2) * math.exp(-B)
    return 3 * mu * x_max / (3 + mu)


def convolution_bound(n, x_max, B):
    """Return the bound on the error of 1.4.1."""
    return (n - 2) * x_max * math.exp(-B)


def convolution_penalty(n, x_max, eta):
    """Return the penalty B for which the error of 1.4.1 is at most eta."""
    return math.log((n - 2) * x_max / eta)


def kernel_layer(w, B):
    """Return a layer for any kernel w = (w_1, w_2, w_3) with entries >= 0, not all 0."""
    omega = sum(w)
    p = {lag: math.log(w[1 - lag] / omega) for lag in (-1, 0, 1) if w[1 - lag] > 0}
    return RelativeAttention(
        0.0, 0.0, omega, np.vectorize(lambda lag: p.get(int(lag), -B), [float])
    )


def kernel_bound(n, x_max, omega, B):
    """Return the bound on the error of `kernel_layer`; omega is the sum of w."""
    return n * x_max * omega * math.exp(-B)


def max_pool_layer(k, beta, B):
    """Return the layer of 1.4.2 for a window of 2k + 1."""
    return RelativeAttention(1.0, beta, 1.0, lambda lag: np.where(abs(lag) <= k, 0.0, -B))


def max_pool(x, k):
    """Return the largest entry of each full window, i = k+1, ..., n-k."""
    return np.lib.stride_tricks.sliding_window_view(x, 2 * k + 1).max(1)


def max_pool_window_bound(k, b):
    """Return the bound on the error that is made inside the window, b = beta x_i."""
    return 2 * k / (math.e * b)


def max_pool_leak(n, k, beta, x_i, x_max, tau_i, B):
    """Return the bound on the weight outside the window, for this x_i and this maximum."""
    return (n - 2 * k - 1) * math.exp(beta * x_i * (x_max - tau_i) - B)


def max_pool_leak_bound(n, k, beta, x_max, B):
    """Return the bound on the weight outside the window, for any x_i in [0, x_max]."""
    return (n - 2 * k - 1) * math.exp(beta * x_max**2 / 4 - B)


def max_pool_beta(k, x_min, eta):
    """Return beta for an error of at most eta where x_i >= x_min."""
    return 4 * k / (math.e * eta * x_min)


def max_pool_penalty(n, beta, x_max, eta):
    """Return B for an error of at most eta where x_i >= x_min."""
    return beta * x_max**2 / 4 + math.log(2 * n * x_max / eta)


def gap_bound(k, b, tau_i, gamma):
    """Return the bound on the error inside if all but the maximum are <= tau_i - gamma."""
    return 2 * k * tau_i * math.exp(-b * gamma)


def tie_loss(k, b):
    """Return the error inside if the maximum is 1/b above the rest of the window."""
    return 2 * k / ((2 * k + math.e) * b)


# --- 2 Almost orthogonal vectors ------------------------------------------------------------


def jl_dimension(points, epsilon):
    """Return the dimension that the lemma asks for (a real number)."""
    return 8 * math.log(points) / epsilon**2


def jl_epsilon(delta):
    """Return the distortion that is used for delta-almost orthogonal vectors."""
    return delta / 3


def jl_vector_count(n, delta):
    """Return the number N of vectors that the lemma gives in n dimensions."""
    return math.floor(math.exp(n * delta**2 / 72)) - 1


def vector_count_bound(n, delta):
    """Return the guaranteed size of U."""
    return math.exp(n * delta**2 / 72) / 3


def cosine_bound(epsilon):
    """Return the bound on |u_i . u_j| for the normalized images."""
    return 2 * epsilon / (1 - epsilon)


def distortion(M):
    """Return the smallest epsilon of the lemma for M and the points 0, e_1, ..., e_N."""
    gram = M.T @ M
    squared = np.diag(gram)
    distance = squared[:, None] + squared[None, :] - 2 * gram
    pairs = distance[~np.eye(len(gram), dtype=bool)] / 2
    return float(abs(np.concatenate([squared, pairs]) - 1).max())


def worst_images(epsilon):
    """Return the columns M_1, M_2 in R^2 that the lemma allows and that are least orthogonal.

    Args:
        epsilon: distortion, in (0, 1/3].
    """
    cosine = -2 * epsilon / (1 - epsilon)
    columns = np.array([[1, cosine], [0, math.sqrt(max(0, 1 - cosine**2))]])
    return math.sqrt(1 - epsilon) * columns


def unit_columns(M):
    """Return the columns of M divided by their lengths."""
    return M / np.linalg.norm(M, axis=0)


def inner_products(U):
    """Return u_i . u_j for every pair i < j of columns of U."""
    return (U.T @ U)[np.triu_indices(U.shape[1], 1)]


def greedy_count_bound(n, delta):
    """Return the number of sign vectors that the greedy choice finds at least."""
    return math.exp(n * delta**2 / 2) / 2


def upper_power(n, delta):
    """Return the power k of the upper bound."""
    return math.ceil(4 * math.e * n * delta**2)


def upper_count_bound(n, delta):
    """Return the upper bound on the number of almost orthogonal unit vectors."""
    return 1 + delta ** (-2 * upper_power(n, delta))


# --- counting -------------------------------------------------------------------------------


def count_operations(function, *arrays):
    """Run `function` on the arrays and return its numbers of multiplications and divisions.

    Args:
        function: takes and returns arrays; its other operations are not counted.
        arrays: its arguments.
    """
    count = {"multiply": 0, "divide": 0}

    class Counted(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            plain = [np.asarray(a) for a in inputs]
            result = getattr(ufunc, method)(*plain, **options)
            if ufunc is np.matmul:
                count["multiply"] += result.size * plain[0].shape[-1]
            elif ufunc.__name__ in count:
                count[ufunc.__name__] += result.size
            return np.asarray(result).view(Counted)

    function(*(np.asarray(array).view(Counted) for array in arrays))
    return count["multiply"], count["divide"]
