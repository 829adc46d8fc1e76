"""Causal attention whose cost grows linearly with the length: the degree-2 Taylor form of SiLU(QKᵀ)V.

CMSL's linear attention replaces SiLU(QKᵀ)V by φ(Q)φ(K)ᵀV + AV with φ of degree at most 2 (PAPERS.md [D];
A is in ``attention``). φ here is our choice: silu(s) = s/2 + s²/4 + O(s⁴), and with s = q·k

    s/2 + s²/4 = φ(q)·φ(k),    φ(x) = [x/√2; x_i²/2; x_i x_j/√2 for i < j]

of width d + d(d + 1)/2, 152 for a head of 16 channels. There is no denominator.
"""

import torch
from torch import Tensor, unflatten
from torch.nn.functional import pad

CHUNK = 128
"""Places whose scores are computed pair by pair; earlier chunks are read through running sums."""


def silu_taylor(score: Tensor) -> Tensor:
    """s/2 + s²/4, the Taylor polynomial of ``silu(s)`` about 0 to degree 3 (the cubic term is 0)."""
    return score * (0.5 + 0.25 * score)


def monomials(x: Tensor) -> Tensor:
    """(..., d) -> (..., d + d(d + 1)/2): x_i, then x_i x_j for i ≤ j; φ is these times ``√coefficients``.

    >>> monomials(torch.tensor([2.0, 3.0])).tolist()
    [2.0, 3.0, 4.0, 6.0, 9.0]
    """
    dim = x.shape[-1]
    return torch.cat([x, *(x[..., i : i + 1] * x[..., i:] for i in range(dim))], dim=-1)


def coefficients(dim: int, like: Tensor) -> Tensor:
    """Weights (d + d(d + 1)/2,) of the products of two ``monomials`` in ``silu_taylor(q · k)``."""
    weights = [0.5] * dim
    for i in range(dim):
        weights += [0.25] + [0.5] * (dim - 1 - i)
    return torch.tensor(weights, dtype=like.dtype, device=like.device)


def quadratic_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``Σ_{j ≤ i} silu_taylor(q_i · k_j) v_j``, pair by pair; shapes as in ``linear_attention``.

    Time and memory grow with n². The reference of the linear form, and its way inside a chunk.
    """
    return silu_taylor(query @ key.transpose(-1, -2)).tril() @ value


def linear_attention(query: Tensor, key: Tensor, value: Tensor, chunk: int = CHUNK) -> Tensor:
    """``Σ_{j ≤ i} silu_taylor(q_i · k_j) v_j`` for every place i; time and memory grow with n.

    ``query``, ``key`` (..., n, d) of unit length, ``value`` (..., n, e) -> (..., n, e), float32 (float64
    stays float64): running sums lose too much in half precision, so autocast is switched off inside.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = (x if x.dtype == torch.float64 else x.float() for x in (query, key, value))
        length = query.shape[-2]
        if length <= chunk:
            return quadratic_attention(query, key, value)
        rest = -length % chunk
        # (..., n, d) -> (..., chunks, chunk, d); zeros at the end are seen by no place before them
        query, key, value = (unflatten(pad(x, (0, 0, 0, rest)), -2, (-1, chunk)) for x in (query, key, value))
        inside = quadratic_attention(query, key, value)
        sums = monomials(key[..., :-1, :, :]).transpose(-1, -2) @ value[..., :-1, :, :]  # (..., c - 1, D, e)
        weight = coefficients(query.shape[-1], query)[:, None]
        before = monomials(query[..., 1:, :, :]) @ (weight * sums.cumsum(-3))
        out = inside + pad(before, (0, 0, 0, 0, 1, 0))
        return out.flatten(-3, -2)[..., :length, :]
