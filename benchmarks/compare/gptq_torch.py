# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""GPTQ in PyTorch on the CPU, blocked as its authors describe it (Frantar et al., ICLR 2023, algorithm 1), and a product.

    gptq_torch.py WEIGHTS MOMENT ROWS COLS THREADS OUT

Files as gptq_bench has them; prints the same JSON. fp32, 4 bits with an integer zero in groups of 128, damping .01 of the
mean of the diagonal, blocks of 128 columns, groups fitted when their first column is reached. The matrix is kept transposed,
so that every column of W is contiguous, and updated in place: as fast as this formulation goes.
"""
import json
import sys
import time

import numpy
import torch

BLOCK = GROUP = 128
LEVELS = 15


def upper_factor(moment):
    """U with U'U = (H + damping)^-1, upper triangular, and the columns that nothing reads."""
    h = moment.clone()
    diagonal = h.diagonal()
    dead = diagonal == 0
    diagonal[dead] = 1
    diagonal += 0.01 * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True), dead


def gptq(weights, moment):
    """W (out, in) rounded; its values."""
    n = weights.shape[1]
    u, dead = upper_factor(moment)
    w = weights.t().contiguous()  # a column of W is a row here
    w[dead] = 0
    result = torch.empty_like(w)
    errors = torch.empty(BLOCK, w.shape[1])
    scale = zero = None
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        block, factor = w[first:last], u[first:last, first:last]
        for i in range(last - first):
            if (first + i) % GROUP == 0:
                group = w[first + i:first + i + GROUP]
                low, high = group.amin(0).clamp_(max=0), group.amax(0).clamp_(min=0)
                scale = (high - low).clamp_(min=1e-12).div_(LEVELS)
                zero = low.neg_().div_(scale).round_()
            value = block[i].div(scale).round_().add_(zero).clamp_(0, LEVELS).sub_(zero).mul_(scale)
            result[first + i] = value
            torch.sub(block[i], value, out=errors[i]).div_(factor[i, i])
            if i + 1 < last - first:
                block[i + 1:].addr_(factor[i, i + 1:], errors[i], alpha=-1)
        if last < n:
            w[last:].addmm_(u[first:last, last:].t(), errors[:last - first], alpha=-1)
    return result.t()


def main():
    weights_path, moment_path, rows, cols, threads, out = sys.argv[1:]
    rows, cols = int(rows), int(cols)
    torch.set_num_threads(int(threads))
    weights = torch.from_numpy(numpy.fromfile(weights_path, dtype=numpy.float32).reshape(rows, cols))
    moment = torch.from_numpy(numpy.fromfile(moment_path, dtype=numpy.float32).reshape(cols, cols))

    def product():
        start = time.perf_counter()
        weights @ moment
        return time.perf_counter() - start

    with torch.inference_mode():
        product()
        best = product()
        gptq(weights[:, :256].contiguous(), moment[:256, :256].contiguous())  # what starts on first use has started
        start = time.perf_counter()
        values = gptq(weights, moment)
        seconds = time.perf_counter() - start
        best = min(best, product())
    values.contiguous().numpy().tofile(out)
    print(json.dumps({"seconds": seconds, "product_flops": 2 * rows * cols * cols / best, "version": torch.__version__}))


if __name__ == "__main__":
    main()
