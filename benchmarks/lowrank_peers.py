# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Low-rank pairs of PyTorch and of scikit-learn, and what judges every side: a process that answers lines of JSON.

    lowrank_peers.py torch | sklearn

A line asks for one thing by its "do", and is answered by one line, {"failed": reason} where that cannot be had:
    make      spectrum (flat, 1/sqrt, 1/k), side, out      a matrix of that spectrum as a file of floats. flat: Gaussian elements
    gguf      model, tensor, out                           a matrix of a GGUF file -> rows, cols
    optimum   matrix, rows, cols, rank                     the least error of that rank, by all singular values in double
    error     matrix, rows, cols, rank, factors            the Frobenius norm of W - L V' in double; factors: L, then V, floats
    factor    matrix, rows, cols, rank, oversampling, iterations, normalizer, threads, repeats, out
              torch.svd_lowrank (rank + oversampling columns; no normalizer) or sklearn.utils.extmath.randomized_svd ->
              seconds and processor seconds of each repeat after one that is not counted (none for 0 repeats), version; out: L,
              then V
"""
import json
import sys
import time

import numpy

KIND = sys.argv[1]
held = {}  # the last matrix that was read


def matrix(ask):
    key = (ask["matrix"], ask["rows"], ask["cols"])
    if key not in held:
        held.clear()
        held[key] = numpy.fromfile(ask["matrix"], dtype=numpy.float32).reshape(ask["rows"], ask["cols"])
    return held[key]


def make(ask):
    n, draws = ask["side"], numpy.random.default_rng(1)
    w = draws.standard_normal((n, n))
    if ask["spectrum"] != "flat":
        power = {"1/sqrt": 0.5, "1/k": 1.0}[ask["spectrum"]]
        left, right = (numpy.linalg.qr(draws.standard_normal((n, n)))[0] for _ in range(2))
        w = (left * numpy.arange(1, n + 1) ** -power) @ right.T
    w.astype(numpy.float32).tofile(ask["out"])
    return {}


def gguf(ask):
    from gguf import GGUFReader, dequantize
    tensor = next(t for t in GGUFReader(ask["model"]).tensors if t.name == ask["tensor"])
    w = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
    w.tofile(ask["out"])
    return {"rows": w.shape[0], "cols": w.shape[1]}


def optimum(ask):
    values = numpy.linalg.svd(matrix(ask).astype(numpy.float64), compute_uv=False)
    return {"optimum": float(numpy.sqrt((values[ask["rank"]:] ** 2).sum()))}


def error(ask):
    rows, cols, rank = ask["rows"], ask["cols"], ask["rank"]
    numbers = numpy.fromfile(ask["factors"], dtype=numpy.float32).astype(numpy.float64)
    left, right = numbers[:rows * rank].reshape(rows, rank), numbers[rows * rank:].reshape(cols, rank)
    return {"error": float(numpy.linalg.norm(matrix(ask) - left @ right.T))}


def by_torch(ask):
    import torch
    torch.set_num_threads(ask["threads"])
    w = torch.from_numpy(matrix(ask))

    def once():
        torch.manual_seed(1)
        u, s, v = torch.svd_lowrank(w, q=ask["rank"] + ask["oversampling"], niter=ask["iterations"])
        return u[:, :ask["rank"]] * s[:ask["rank"]], v[:, :ask["rank"]]
    return once, torch.__version__


def by_sklearn(ask):
    import sklearn
    from sklearn.utils.extmath import randomized_svd
    w = matrix(ask)

    def once():
        u, s, vt = randomized_svd(w, ask["rank"], n_oversamples=ask["oversampling"], n_iter=ask["iterations"],
                                  power_iteration_normalizer=ask["normalizer"], random_state=1)
        return u * s, vt.T
    return once, sklearn.__version__


def factor(ask):
    from threadpoolctl import threadpool_limits
    once, version = (by_torch if KIND == "torch" else by_sklearn)(ask)
    seconds, processor = [], []
    with threadpool_limits(limits=ask["threads"]):
        left, right = once()
        for _ in range(ask["repeats"]):
            start, begin = time.perf_counter(), time.process_time()
            once()
            processor.append(time.process_time() - begin)
            seconds.append(time.perf_counter() - start)
    with open(ask["out"], "wb") as file:
        for part in (left, right):
            file.write(numpy.ascontiguousarray(part).tobytes())
    return {"seconds": seconds, "processor": processor, "version": version}


for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = {"make": make, "gguf": gguf, "optimum": optimum, "error": error, "factor": factor}[question["do"]](question)
    except Exception as failure:  # whatever a library throws is for the caller to say
        answer = {"failed": f"{type(failure).__name__}: {failure}"}
    print(json.dumps(answer), flush=True)
