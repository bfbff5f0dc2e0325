#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A transformer block trained in PyTorch as resect trains its students: what `./run compare student` holds resect against.

    python3 benchmarks/student_torch.py SHAPE FOLDER STEPS THREADS

SHAPE: WIDTH,HIDDEN,HEADS,KV_HEADS,HEAD_DIM,SEQUENCES,LENGTH. FOLDER: the files of `student_bench inputs`. The step: RMSNorm,
grouped-query attention with rotary embedding (pairs i and i + D/2) by scaled_dot_product_attention, SwiGLU; the mean over rows
but first positions of |p - t|^2 / (|t|^2 + phi), p and t what block and target add; the gradient clipped to norm 1; AdamW with
decay of matrices, in its fastest form (fused where this PyTorch has it on CPU). Prints JSON as student_bench does.
"""
import json
import sys
import time

import numpy
import torch
from torch.nn import functional

shape, folder, steps, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
WIDTH, HIDDEN, HEADS, KV, DIM, SEQUENCES, LENGTH = map(int, shape.split(","))
torch.set_num_threads(threads)


def read(name, *extents):
    return torch.from_numpy(numpy.fromfile(f"{folder}/student.{name}", dtype=numpy.float32).reshape(extents))


extents = [(WIDTH,), (HEADS * DIM, WIDTH), (KV * DIM, WIDTH), (KV * DIM, WIDTH), (WIDTH, HEADS * DIM), (WIDTH,),
           (HIDDEN, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN)]
numbers, weights = read("w", -1), []
for e in extents:
    n = int(numpy.prod(e))
    weights.append(numbers[:n].reshape(e).clone().requires_grad_())
    numbers = numbers[n:]
attn_norm, q_w, k_w, v_w, o_w, mlp_norm, gate_w, up_w, down_w = weights
x, y = read("x", SEQUENCES, LENGTH, WIDTH), read("y", SEQUENCES, LENGTH, WIDTH)
angle = torch.arange(LENGTH).double()[:, None] * 10000.0 ** (-2.0 * torch.arange(DIM // 2).double() / DIM)
cos, sin = (torch.cat([f(angle)] * 2, -1).float() for f in (torch.cos, torch.sin))


def turned(v):
    a, b = v.chunk(2, -1)
    return v * cos + torch.cat([-b, a], -1) * sin


def block(h):
    n = functional.rms_norm(h, (WIDTH,), attn_norm, 1e-5)

    def heads(w, count):
        return functional.linear(n, w).view(SEQUENCES, LENGTH, count, DIM).transpose(1, 2)

    q, k, v = turned(heads(q_w, HEADS)), turned(heads(k_w, KV)), heads(v_w, KV)
    k, v = (z.repeat_interleave(HEADS // KV, dim=1) for z in (k, v))
    mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    h = h + functional.linear(mixed.transpose(1, 2).reshape(SEQUENCES, LENGTH, HEADS * DIM), o_w)
    n = functional.rms_norm(h, (WIDTH,), mlp_norm, 1e-5)
    return h + functional.linear(functional.silu(functional.linear(n, gate_w)) * functional.linear(n, up_w), down_w)


target = (y - x)[:, 1:]
square = target.square().sum(-1)
unit = square + 1e-3 * square.mean()
groups = [{"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
          {"params": [w for w in weights if w.dim() == 2], "weight_decay": 0.01}]
settings = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-8}
try:
    adam = torch.optim.AdamW(groups, fused=True, **settings)
except (RuntimeError, TypeError):
    adam = torch.optim.AdamW(groups, foreach=True, **settings)


def step():
    adam.zero_grad(set_to_none=True)
    loss = (((block(x) - x)[:, 1:] - target).square().sum(-1) / unit).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
    adam.step()
    return loss.item(), norm.item()


loss, norm = step()
start = time.perf_counter()
for _ in range(steps):
    last, _ = step()
seconds = time.perf_counter() - start
print(json.dumps({"loss": loss, "norm": norm, "last": last, "tokens_per_second": steps * SEQUENCES * LENGTH / seconds,
                  "version": torch.__version__}))
