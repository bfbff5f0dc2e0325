#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CALDERA in PyTorch, from its published formulas: what `./run compare qlr` holds resect's Q + L R against.

    python3 benchmarks/caldera_torch.py W H LIBRARY ROWS COLS BITS ROUNDS THREADS START DOWNDATE OUT

W (ROWS, COLS) floats and H (COLS, COLS) doubles are files of numbers, between their incoherence transforms already. LIBRARY:
qlr_e8 as a shared library, so that both sides have the same quantizer. START: caldera (Q = 0 first) or odlri (L R = the best
rank r of W in the norm of H restricted to its r columns of the largest diagonal). DOWNDATE: on or off. OUT gets the values of
Q + L R as floats. Prints JSON.

Saha, Sagan, Srivastava, Goldsmith & Pilanci, "Compressing LLMs using low rank and low precision decomposition", NeurIPS
2024: W / rms; H / mean(diag H) + 0.01 I; rounds of [L R, Q], the state of the least relative error is kept.
    L R   of A = W - Q: the best pair in the norm of H by an SVD of A H^(1/2); then LPLR, ten times: L <- A H^(1/2) (R H^(1/2))^+,
          rounded; R <- L^+ A, rounded; the best pair is kept. 4 bits, symmetric, one scale a factor, the best of 80
    Q     of A = W - L R: E8 with one scale (0.97 rms), LDLQ on blocks of 8 columns and 10 sweeps of coordinate descent, both
          with the Hessian, or (DOWNDATE on) the Hessian less what L R reads: H - M V V' M' + 0.01 mean(diag H) I
The rank is the largest at which codes and scales take at most BITS a weight.
"""
import ctypes
import json
import sys
import time

import numpy
import torch

SEED_BITS, SCALE_BITS, FACTOR_BITS = 64, 16, 4
SWEEPS, LPLR_ROUNDS, RATIO = 10, 10, 0.97


class E8:
    """Nearest vectors of resect's codebook, by resect's own function."""

    def __init__(self, library):
        self.function = ctypes.CDLL(library).qlr_nearest_e8
        self.function.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        self.function.restype = None

    def nearest(self, w):                                     # (m, 8), in units of the scale
        out = w.float().contiguous().clone()
        self.function(out.data_ptr(), out.shape[0])
        return out


def block_ldl(h, b=8):
    """Unit lower L of H = L D L' with blocks of b columns."""
    l = torch.linalg.cholesky(h)
    for k in range(0, h.shape[0], b):
        l[:, k:k + b] = l[:, k:k + b] @ torch.linalg.inv(l[k:k + b, k:k + b])
    return l


def ldlq(w, h, grid):
    scale = RATIO * w.square().mean().sqrt()
    x, n = w / scale, w.shape[1]
    hf = h.float()
    l, q = block_ldl(h).float(), torch.zeros_like(w)
    inverses = [torch.linalg.inv(h[k:k + 8, k:k + 8]).float() for k in range(0, n, 8)]
    for k in range(n - 8, -1, -8):
        q[:, k:k + 8] = grid.nearest(x[:, k:k + 8] + (x[:, k + 8:] - q[:, k + 8:]) @ l[k + 8:, k:k + 8])
    for _ in range(SWEEPS):
        for k in range(0, n, 8):
            step = (x - q) @ hf[:, k:k + 8] @ inverses[k // 8]
            q[:, k:k + 8] = grid.nearest(q[:, k:k + 8] + step)
    return q * scale


def round_factor(x):
    """4 bits, symmetric, one scale: the best of 80 clipping ratios."""
    top = x.abs().max()
    best, least = None, None
    for i in range(80):
        s = top * (1 - 0.01 * i) / 7.5
        q = s * (torch.round(x / s).clamp(-8, 7))
        e = (x - q).square().sum()
        if least is None or e < least:
            best, least = q, e
    return best


class Caldera:
    def __init__(self, w, h, grid, rank):
        self.scale = w.square().mean().sqrt()
        self.w, self.grid, self.rank = w / self.scale, grid, rank
        self.h = h / h.diagonal().mean() + 0.01 * torch.eye(h.shape[0], dtype=h.dtype)
        values, vectors = torch.linalg.eigh(self.h)
        self.root = (vectors * values.clamp_min(0).sqrt() @ vectors.T)
        self.back = (vectors / values.clamp_min(1e-12).sqrt() @ vectors.T)
        self.chol = torch.linalg.cholesky(self.h)
        self.whole = self.loss(self.w)

    def loss(self, e):
        e = e.double()
        return float(((e @ self.h) * e).sum())

    def best_pair(self, a, root, back):
        u, s, v = torch.linalg.svd(a.double() @ root, full_matrices=False)
        r = self.rank
        return u[:, :r], s[:r, None] * v[:r] @ back

    def factors(self, a):
        a = a.double()
        l, r = self.best_pair(a, self.root, self.back)
        r = round_factor(r)
        ar, best, least = a @ self.root, None, None
        for _ in range(LPLR_ROUNDS):
            l = round_factor(ar @ torch.linalg.pinv(r @ self.root))
            r = round_factor(torch.linalg.pinv(l) @ a)
            loss = self.loss(a - l @ r)
            if least is None or loss < least:
                best, least = (l, r), loss
        return (best[0] @ best[1]).float()

    def without(self, lr):
        """H less what L R reads."""
        v = torch.linalg.svd(lr.double() @ self.chol, full_matrices=False)[2][:self.rank].T
        mv = self.chol @ v
        return self.h - mv @ mv.T + 0.01 * self.h.diagonal().mean() * torch.eye(self.h.shape[0], dtype=self.h.dtype)

    def outliers(self):
        """The pair of ODLRI: columns of the largest diagonal alone."""
        s = self.h.diagonal().topk(self.rank).indices
        u = torch.linalg.svd(self.w[:, s].double() @ torch.linalg.cholesky(self.h[s][:, s]), full_matrices=False)[0]
        return (u @ (u.T @ self.w.double())).float()

    def run(self, rounds, start, downdate):
        q, best, least = torch.zeros_like(self.w), None, None
        for number in range(rounds):
            lr = self.outliers() if number == 0 and start == "odlri" else self.factors(self.w - q)
            q = ldlq(self.w - lr, self.without(lr) if downdate else self.h, self.grid)
            # the first pair of ODLRI is not rounded: it is a start, and no result
            if number > 0 or start != "odlri":
                loss = self.loss(self.w - lr - q)
                if least is None or loss < least:
                    best, least = lr + q, loss
        return best * self.scale, least / self.whole


def main():
    w_path, h_path, library = sys.argv[1:4]
    m, n, bits, rounds, threads = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7]), int(sys.argv[8])
    start, downdate, out = sys.argv[9], sys.argv[10] == "on", sys.argv[11]
    torch.set_num_threads(threads)
    w = torch.from_numpy(numpy.fromfile(w_path, dtype=numpy.float32).reshape(m, n))
    h = torch.from_numpy(numpy.fromfile(h_path, dtype=numpy.float64).reshape(n, n))
    grid = E8(library)
    fixed = 2 * m * n + SEED_BITS + SCALE_BITS + 2 * SCALE_BITS
    rank = int((bits * m * n - fixed) // (FACTOR_BITS * (m + n)))
    began = time.perf_counter()
    with torch.no_grad():
        values, own = Caldera(w, h, grid, rank).run(rounds, start, downdate)
    seconds = time.perf_counter() - began
    values.numpy().tofile(out)
    print(json.dumps({"seconds": seconds, "rank": rank, "bits": (fixed + rank * FACTOR_BITS * (m + n)) / (m * n),
                      "own_loss": own, "version": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
