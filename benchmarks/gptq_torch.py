# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""GPTQ in PyTorch on the CPU, blocked as its authors describe it (Frantar et al., ICLR 2023, algorithm 1), and a product.

    gptq_torch.py WEIGHTS MOMENT ROWS COLS THREADS OUT

Files as gptq_bench has them; prints JSON. fp32, 4 bits with an integer zero in groups of 128, damping .01 of the mean of the
diagonal, blocks of 128 columns, groups fitted when their first column is reached. Two forms of the loop over columns:
    plain        W as it is, an outer product a column, the loss added up: what published programs do
    transposed   W kept transposed, so that every column is contiguous, and updated in place, without the loss: as fast as
                 this algorithm goes in PyTorch
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


def fitted(group, axis):
    """Scale and zero of the groups along an axis."""
    low, high = group.amin(axis).clamp_(max=0), group.amax(axis).clamp_(min=0)
    scale = (high - low).clamp_(min=1e-12).div_(LEVELS)
    return scale, low.neg_().div_(scale).round_()


def plain(weights, moment):
    """W (out, in) rounded; its values and the loss of each weight."""
    n = weights.shape[1]
    u, dead = upper_factor(moment)
    w = weights.clone()
    w[:, dead] = 0
    result, losses = torch.empty_like(w), torch.empty_like(w)
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        block, factor = w[:, first:last].clone(), u[first:last, first:last]
        errors = torch.empty_like(block)
        for i in range(last - first):
            column, pivot = block[:, i], factor[i, i]
            if (first + i) % GROUP == 0:
                scale, zero = fitted(w[:, first + i:first + i + GROUP], 1)
            value = scale * (torch.clamp(torch.round(column / scale) + zero, 0, LEVELS) - zero)
            result[:, first + i] = value
            losses[:, first + i] = (column - value) ** 2 / pivot ** 2 / 2
            error = (column - value) / pivot
            block[:, i:] -= error.unsqueeze(1).matmul(factor[i, i:].unsqueeze(0))
            errors[:, i] = error
        w[:, last:] -= errors.matmul(u[first:last, last:])
    return result


def transposed(weights, moment):
    """The same values, the fast way."""
    n = weights.shape[1]
    u, dead = upper_factor(moment)
    w = weights.t().contiguous()  # a column of W is a row here
    w[dead] = 0
    result = torch.empty_like(w)
    errors = torch.empty(BLOCK, w.shape[1])
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        block, factor = w[first:last], u[first:last, first:last]
        for i in range(last - first):
            if (first + i) % GROUP == 0:
                scale, zero = fitted(w[first + i:first + i + GROUP], 0)
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

    def timed(f):
        start = time.perf_counter()
        out = f()
        return out, time.perf_counter() - start

    report = {"version": torch.__version__}
    with torch.inference_mode():
        weights @ moment
        best = timed(lambda: weights @ moment)[1]
        for form in (transposed, plain):
            form(weights[:, :256].contiguous(), moment[:256, :256].contiguous())  # what starts on first use has started
            values, report[form.__name__] = timed(lambda: form(weights, moment))
        best = min(best, timed(lambda: weights @ moment)[1])
    values.contiguous().numpy().tofile(out)
    report["product_flops"] = 2 * rows * cols * cols / best
    print(json.dumps(report))


if __name__ == "__main__":
    main()
