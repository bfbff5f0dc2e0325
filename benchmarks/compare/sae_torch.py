#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The peers' side of sae.py: steps of training at the command of a line of standard input.

    python3 sae_torch.py SIDE WIDTH LATENTS K BATCH THREADS off|both

SIDE: products (x W' by PyTorch and by NumPy's OpenBLAS), sparsify, dictionary_learning, saelens, torch (a dense step of our
own, for where a peer cannot be had). All in fp32 by Adam with projected unit decoder rows where the peer has them, on the
same normal rows. `both`: clipping at norm 1 and AuxK, every 64th latent dead at each step, at most WIDTH / 2 a row; `off`:
neither, on every side (dictionary_learning clips always: its call is replaced by one that does nothing).

Answers: step -> seconds; peak -> bytes; version -> text; torch, openblas (of products) -> seconds.
"""
import os
import resource
import sys
import time

os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
import torch  # noqa: E402


def rows(batch, width):
    torch.manual_seed(9)
    return torch.randn(batch, width)


def sparsify(d, f, k, x, both):
    from sparsify import SparseCoder, SparseCoderConfig

    sae = SparseCoder(d, SparseCoderConfig(num_latents=f, k=k))
    sae.b_dec.data = x.mean(0)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-4)
    dead = torch.arange(f) % 64 == 0 if both else None

    def step():
        out = sae(x, dead_mask=dead)
        (out.fvu + out.auxk_loss / 32 if both else out.fvu).backward()
        if both:
            torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        sae.set_decoder_norm_to_unit_norm()
    return step, "eai-sparsify"


def dictionary_learning(d, f, k, x, both):
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(steps=10 ** 6, activation_dim=d, dict_size=f, k=k, layer=0, lm_name="none", seed=0, device="cpu",
                          warmup_steps=10, auxk_alpha=1 / 32 if both else 0)
    trainer.ae.b_dec.data = x.mean(0)
    if not both:
        torch.nn.utils.clip_grad_norm_ = lambda parameters, most: None
    count = [0]

    def step():
        if both:
            trainer.num_tokens_since_fired[::64] = trainer.dead_feature_threshold
        count[0] += 1
        trainer.update(count[0], x)
    return step, "dictionary-learning"


def saelens(d, f, k, x, both):
    from sae_lens.saes.sae import TrainStepInput
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d, d_sae=f, k=k, dtype="float32", device="cpu"))
    sae.b_dec.data = x.mean(0)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-4)
    dead = torch.arange(f) % 64 == 0 if both else None

    def step():
        out = sae.training_forward_pass(TrainStepInput(sae_in=x, coefficients={}, dead_neuron_mask=dead, n_training_steps=0,
                                                       is_logging_step=False))
        out.loss.backward()
        if both:
            torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return step, "sae-lens"


def plain(d, f, k, x, both):
    """A dense TopK step as its papers have it."""
    decoder = torch.randn(f, d)
    decoder = torch.nn.Parameter(decoder / decoder.norm(dim=1, keepdim=True))
    encoder = torch.nn.Parameter(decoder.detach().clone())
    encoder_bias, bias = torch.nn.Parameter(torch.zeros(f)), torch.nn.Parameter(x.mean(0))
    parameters = [encoder, encoder_bias, decoder, bias]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)
    variance = (x - x.mean(0)).pow(2).sum()
    dead = torch.arange(f) % 64 == 0

    def decoded(pre, count):
        values, places = pre.topk(count, sorted=False)
        return torch.zeros_like(pre).scatter(1, places, values.relu()) @ decoder

    def step():
        pre = (x - bias) @ encoder.T + encoder_bias
        error = x - bias - decoded(pre, k)
        loss = error.pow(2).sum() / variance
        if both:
            target = error.detach()
            gap = decoded(pre.masked_fill(~dead, 0.0), min(d // 2, int(dead.sum()))) - target
            loss = loss + gap.pow(2).sum() / (target - target.mean(0)).pow(2).sum() / 32
        loss.backward()
        with torch.no_grad():
            decoder.grad -= (decoder.grad * decoder).sum(1, keepdim=True) * decoder
        if both:
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
    return step, "torch"


SIDES = {"sparsify": sparsify, "dictionary_learning": dictionary_learning, "saelens": saelens, "torch": plain}


def products(d, f, x):
    w = torch.randn(f, d)
    a, b = x.numpy(), w.numpy()
    return {"torch": lambda: x @ w.T, "openblas": lambda: a @ b.T}


def main():
    # what packages print goes to standard error: standard output has the answers alone
    answers, sys.stdout = sys.stdout, sys.stderr
    side, (d, f, k, batch, threads), both = sys.argv[1], map(int, sys.argv[2:7]), sys.argv[7] == "both"
    torch.set_num_threads(threads)
    x = rows(batch, d)
    if side == "products":
        timed, package = products(d, f, x), "torch"
    else:
        step, package = SIDES[side](d, f, k, x, both)
        timed = {"step": step}
    from importlib.metadata import version

    for line in sys.stdin:
        command = line.strip()
        if command in timed:
            start = time.perf_counter()
            timed[command]()
            answer = time.perf_counter() - start
        elif command == "peak":
            answer = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        elif command == "version":
            answer = version(package)
        else:
            raise SystemExit(f"sae_torch: got {command}, wanted {', '.join(timed)}, peak or version")
        print(answer, file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
