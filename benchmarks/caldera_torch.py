#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CALDERA in PyTorch, from its published formulas: what `./run compare qlr` holds resect's Q + L R against.

    python3 benchmarks/caldera_torch.py W H E8 ROWS COLS BITS ROUNDS THREADS START OUT

W (ROWS, COLS) floats and H (COLS, COLS) doubles are files of numbers, between their incoherence transforms already. E8: the
256 magnitude patterns of resect's codebook, so that both sides have the same quantizer. START: caldera (L R = 0 first) or
odlri (L R = the best rank r of W in the norm of H restricted to its r columns of the largest diagonal). OUT gets the values
of Q + L R as floats. Prints JSON.

Saha, Sagan, Srivastava, Goldsmith & Pilanci, "Compressing LLMs using low rank and low precision decomposition", NeurIPS
2024: W / rms; H / mean(diag H) + 0.01 I; rounds of [L R, Q], the state of the least relative error is kept.
    L R   of A = W - Q: the best pair in the norm of H by an SVD of A H^(1/2); then LPLR, ten times: L <- A H^(1/2) (R H^(1/2))^+,
          rounded; R <- L^+ A, rounded; the best pair is kept. 4 bits, symmetric, one scale a factor, the best of 80
    Q     of A = W - L R: E8 with one scale (0.97 rms), LDLQ on blocks of 8 columns and 10 sweeps of coordinate descent, both
          with the Hessian less what L R reads: H - M V V' M' + 0.01 mean(diag) I
The rank is the largest at which codes and scales take at most BITS a weight.
"""
import json
import sys
import time

import numpy
import torch

SEED_BITS, SCALE_BITS, FACTOR_BITS = 64, 16, 4
SWEEPS, LPLR_ROUNDS, RATIO = 10, 10, 0.97


class E8:
    """Nearest vectors of s (x +- 1/4), x of the patterns with signs whose sum is even."""

    def __init__(self, patterns):
        self.x = patterns                                     # (256, 8)
        self.squares = (patterns ** 2).sum(1)
        self.odd = (patterns - 0.5).sum(1).round().remainder(2).bool()

    def nearest(self, w):                                     # (m, 8), in units of the scale
        best, least = None, None
        for shift in (0.25, -0.25):
            y = w - shift
            m = y.abs()
            cost = self.squares - 2 * m @ self.x.T
            cheapest = m[:, :1] * self.x[:, 0]
            for i in range(1, 8):
                torch.minimum(cheapest, m[:, i:i + 1] * self.x[:, i], out=cheapest)
            wrong = self.odd ^ ((y < 0).sum(1, keepdim=True).remainder(2) == 1)
            cost += 4 * torch.where(wrong, cheapest, torch.zeros(()))
            value, at = cost.min(1)
            value += (m ** 2).sum(1)
            x = self.x[at]
            sign = torch.where(y < 0, -1.0, 1.0)
            flip = (m * x).argmin(1, keepdim=True)
            flipped = wrong.gather(1, at[:, None])
            sign.scatter_(1, flip, torch.where(flipped, -sign.gather(1, flip), sign.gather(1, flip)))
            found = x * sign + shift
            if best is None:
                best, least = found, value
            else:
                better = value < least
                best = torch.where(better[:, None], found, best)
        return best


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
    for k in range(n - 8, -1, -8):
        q[:, k:k + 8] = grid.nearest(x[:, k:k + 8] + (x[:, k + 8:] - q[:, k + 8:]) @ l[k + 8:, k:k + 8])
    for _ in range(SWEEPS):
        for k in range(0, n, 8):
            step = (x - q) @ hf[:, k:k + 8] @ torch.linalg.inv(hf[k:k + 8, k:k + 8])
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
        out = self.h - mv @ mv.T
        return out + 0.01 * out.diagonal().mean() * torch.eye(out.shape[0], dtype=out.dtype)

    def outliers(self):
        """The pair of ODLRI: columns of the largest diagonal alone."""
        s = self.h.diagonal().topk(self.rank).indices
        u = torch.linalg.svd(self.w[:, s].double() @ torch.linalg.cholesky(self.h[s][:, s]), full_matrices=False)[0]
        return (u @ (u.T @ self.w.double())).float()

    def run(self, rounds, start):
        q, best, least = torch.zeros_like(self.w), None, None
        for number in range(rounds):
            lr = self.outliers() if number == 0 and start == "odlri" else self.factors(self.w - q)
            q = ldlq(self.w - lr, self.without(lr), self.grid)
            # the first pair of ODLRI is not rounded: it is a start, and no result
            if number > 0 or start != "odlri":
                loss = self.loss(self.w - lr - q)
                if least is None or loss < least:
                    best, least = lr + q, loss
            lr_last = lr
        return best * self.scale, least / self.whole


def main():
    w_path, h_path, e8_path = sys.argv[1:4]
    m, n, bits, rounds, threads = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7]), int(sys.argv[8])
    start, out = sys.argv[9:11]
    torch.set_num_threads(threads)
    w = torch.from_numpy(numpy.fromfile(w_path, dtype=numpy.float32).reshape(m, n))
    h = torch.from_numpy(numpy.fromfile(h_path, dtype=numpy.float64).reshape(n, n))
    grid = E8(torch.from_numpy(numpy.fromfile(e8_path, dtype=numpy.float32).reshape(256, 8)))
    fixed = 2 * m * n + SEED_BITS + SCALE_BITS + 2 * SCALE_BITS
    rank = int((bits * m * n - fixed) // (FACTOR_BITS * (m + n)))
    began = time.perf_counter()
    with torch.no_grad():
        values, own = Caldera(w, h, grid, rank).run(rounds, start)
    seconds = time.perf_counter() - began
    values.numpy().tofile(out)
    print(json.dumps({"seconds": seconds, "rank": rank, "bits": (fixed + rank * FACTOR_BITS * (m + n)) / (m * n),
                      "own_loss": own, "version": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
