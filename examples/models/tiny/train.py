"""Trains the small Llama on the corpus and exports it. Stop it at any time: it goes on from its checkpoint.

Matrices inside the layers are updated by orthogonalised momentum, everything else by AdamW. The learning
rate is held after the warm-up and falls linearly to zero over the last `--decay` steps, so that a run can
be lengthened before its decay begins. Beside the next word, the state after some layers is trained to tell
at each step word what the acting person then has. A batch is cut into pieces that single-threaded workers take as they come free, which stays quick on a machine that is shared.
"""

import argparse
import copy
import queue
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import corpus
from model import Config, Llama, export

KINDS = ["note", "tale", "game"]
PROMPT_WEIGHT, VALUE_WEIGHT, LIST_WEIGHT, STATE_WEIGHT = 0.15, 5.0, 5.0, 0.7
STATE_LAYERS = [3, 5]                                   # after these the running value is to be read
STAGES = [                                              # shares of numbers of steps; E moves a stage on when it is right
    {"U": {1: 0.15, 2: 0.35, 3: 0.3, 4: 0.2}, "E": {0: 0.15, 1: 0.5, 2: 0.35}},
    {"U": {1: 0.05, 2: 0.25, 3: 0.35, 4: 0.35}, "E": {0: 0.05, 1: 0.15, 2: 0.35, 3: 0.3, 4: 0.15}},
    {"U": {1: 0.02, 2: 0.2, 3: 0.22, 4: 0.24, 5: 0.22, 6: 0.1}, "E": {1: 0.05, 2: 0.25, 3: 0.3, 4: 0.2, 5: 0.15, 6: 0.05}},
]
SHARES = {"reorder_share": 0.2, "companion_share": 0.5}
U_SHARE = 0.6
STAGE_ACCURACY, STAGE_STEPS = 0.75, 150
PIECES = 6
FIELDS = {"ids": 0, "weight": 1.0, "value": -1, "depth": 0, "asked": -1, "kind": 0, "true": 0.0}


# --- data ----------------------------------------------------------------------------------

class Source:
    def __init__(self, mix):
        self.word_id = {word: i for i, word in enumerate(corpus.vocabulary())}
        self.grammar, self.mix = corpus.Grammar(), mix

    def document(self, rng, stage):
        """One training document, `<doc>` first, as one list per field."""
        kind = rng.choices(range(3), self.mix)[0]
        if kind == 2:
            return self._task(rng, stage)
        while True:
            words = self.grammar.document(rng) if kind == 0 else corpus.story(rng)
            if not corpus.document_held_out(words):
                break
        fields = self._fields(words, kind)
        if kind == 0:
            fields["true"][2:] = self.grammar.log_probs(words)[:-1]
        return fields

    def _task(self, rng, stage):
        asks_steps = rng.random() < U_SHARE
        shares = STAGES[stage]["U" if asks_steps else "E"]
        n = rng.choices(list(shares), list(shares.values()))[0]
        words, values, answers = corpus.task_document(rng, "U" if asks_steps else "E", n, **SHARES)
        fields = self._fields(words, 2)
        fields["weight"] = [1.0] + [PROMPT_WEIGHT] * len(words)
        for at, (value, start, done) in values.items():
            if not corpus.chain_held_out(start, done):
                fields["value"][at + 1], fields["depth"][at + 1] = value, len(done)
        for at, answer, steps in answers:
            for i in range(at + 1, at + 1 + len(answer)):
                fields["weight"][i] = LIST_WEIGHT if asks_steps else VALUE_WEIGHT
                fields["asked"][i] = steps + (16 if asks_steps else 0)
        return fields

    def _fields(self, words, kind):
        fields = {name: [fill] * (len(words) + 1) for name, fill in FIELDS.items()}
        fields["ids"] = [0] + [self.word_id[w] for w in words]
        fields["kind"] = [kind] * (len(words) + 1)
        return fields

    def row(self, rng, stage, length):
        """Documents back to back; half of the rows begin inside one, and then ask nothing of that one."""
        row = self.document(rng, stage)
        if rng.random() < 0.5:
            cut = rng.randrange(len(row["ids"]))
            row = {name: values[cut:] for name, values in row.items()}
            row["weight"] = [min(w, PROMPT_WEIGHT) for w in row["weight"]]
            row["value"], row["asked"] = [-1] * len(row["ids"]), [-1] * len(row["ids"])
            row["true"], row["kind"] = [0.0] * len(row["ids"]), [2] * len(row["ids"])
        while len(row["ids"]) < length:
            for name, values in self.document(rng, stage).items():
                row[name] += values
        return {name: values[:length] for name, values in row.items()}

    def batch(self, seed, step, stage, rows, length):
        rng = random.Random(f"{seed} {step}")
        made = [self.row(rng, stage, length + 1) for _ in range(rows)]
        return {name: torch.from_numpy(np.array([row[name] for row in made], dtype=np.float32 if isinstance(fill, float) else np.int64))
                for name, fill in FIELDS.items()}


# --- optimiser -----------------------------------------------------------------------------

def orthogonalised(x, rounds=4):
    """The nearest matrix with equal singular values, roughly, for each matrix of the stack."""
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class MomentumOrthogonal:
    def __init__(self, parameters, momentum=0.95):
        self.momentum, groups = momentum, {}
        for p in parameters:
            groups.setdefault(tuple(sorted(p.shape)), []).append(p)
        self.groups = [g[i:i + 6] for g in groups.values() for i in range(0, len(g), 6)]
        self.buffers = [torch.zeros(len(g), *sorted(g[0].shape)) for g in self.groups]

    def step(self, rate, pool):
        list(pool.map(lambda group, buffer: self._update(group, buffer, rate), self.groups, self.buffers))

    @torch.no_grad()
    def _update(self, group, buffer, rate):
        lie = lambda p: p if p.shape[0] <= p.shape[1] else p.mT
        gradient = torch.stack([lie(p.grad) for p in group])
        buffer.mul_(self.momentum).add_(gradient, alpha=1 - self.momentum)
        update = orthogonalised(gradient.lerp(buffer, self.momentum))
        for p, u in zip(group, update):
            lie(p).add_(u, alpha=-rate * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


# --- training ------------------------------------------------------------------------------

class Learner(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.model = Llama(Config.of_width(len(vocab), width))
        self.values = slice(vocab["0"], vocab["0"] + corpus.VALUES)

    def replica(self):
        """Shares the weights, has gradients of its own."""
        other = copy.deepcopy(self)
        for p, mine in zip(other.parameters(), self.parameters()):
            p.data = mine.data
        return other

    def forward(self, ids, targets, weight, value):
        """-> summed loss, and for each position the negative log-probability, whether the word and the value are right"""
        states = []
        logits = self.model.logits(self.model.hidden(ids, states))
        nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        loss = (nll * weight).sum()
        for layer in STATE_LAYERS:
            state = F.rms_norm(states[layer - 1], states[layer - 1].shape[-1:])
            told = F.linear(state, self.model.model.embed_tokens.weight[self.values])
            loss = loss + STATE_WEIGHT * F.cross_entropy(told.flatten(0, 1), value.flatten(), ignore_index=-1, reduction="sum")
        return loss, nll.detach(), logits.detach().argmax(-1) == targets, told.detach().argmax(-1) == value


class Trainer:
    def __init__(self, args):
        self.args, self.source = args, Source(args.mix)
        torch.manual_seed(args.seed)
        self.learner = Learner(self.source.word_id, args.width)
        self.model = self.learner.model
        self.workers = [self.learner.replica() for _ in range(args.threads)]
        self.pool = ThreadPoolExecutor(args.threads, initializer=torch.set_num_threads, initargs=(1,))
        matrices = [p for name, p in self.model.named_parameters() if p.dim() == 2 and "embed" not in name]
        others = [p for name, p in self.model.named_parameters() if p.dim() == 1 or "embed" in name]
        self.orthogonal = MomentumOrthogonal(matrices)
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
        self.step = self.stage = self.stage_began = self.tokens = 0
        self.seconds = 0.0
        self.tally = {}

    def rate(self):
        left = (self.args.steps - self.step) / self.args.decay
        return min(1.0, (self.step + 1) / self.args.warmup, left)

    def train_step(self):
        args = self.args
        rows, length = (args.rows // 2, 2 * args.length) if self.rate() < 1 and self.step % 4 == 3 else (args.rows, args.length)
        batch = self.source.batch(args.seed, self.step, self.stage, rows, length)
        shifted = {name: values[:, 1:] for name, values in batch.items()}
        inputs = (batch["ids"][:, :-1], shifted["ids"], shifted["weight"], batch["value"][:, :-1])
        outputs = self._backward([t.contiguous() for t in inputs])
        nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], 1.0)
        for group in self.adam.param_groups:
            group["lr"] = args.adam_rate * self.rate()
        self.adam.step()
        self.orthogonal.step(args.rate * self.rate(), self.pool)
        self.step += 1
        self.tokens += rows * length
        self._count(*outputs, batch, shifted)

    def _backward(self, inputs):
        rows = len(inputs[0])
        scale, pieces, done = 1 / inputs[0].numel(), queue.SimpleQueue(), {}
        for at in range(0, rows, rows // PIECES):
            pieces.put((at, [t[at:at + rows // PIECES] for t in inputs]))

        def work(worker):
            worker.zero_grad()
            while True:
                try:
                    at, piece = pieces.get_nowait()
                except queue.Empty:
                    return
                loss, *rest = worker(*piece)
                (loss * scale).backward()
                done[at] = loss.detach() * scale, *rest

        list(self.pool.map(work, self.workers))
        for p, *others in zip(self.learner.parameters(), *(w.parameters() for w in self.workers)):
            p.grad = sum(o.grad for o in others if o.grad is not None)
        loss, *rest = zip(*(done[at] for at in sorted(done)))
        return sum(loss), *map(torch.cat, rest)

    def _count(self, loss, nll, right, state_right, batch, shifted):
        self._add("loss", loss.item(), 1)
        for k, name in enumerate(KINDS):
            of = (shifted["kind"] == k) & (shifted["true"] < 0 if k == 0 else shifted["weight"] == 1.0)
            if k < 2:
                self._add(name, nll[of].sum().item(), of.sum().item())
        known = shifted["true"] < 0
        self._add("gap", (nll[known] + shifted["true"][known]).sum().item(), known.sum().item())
        for n in range(7):
            for label, flags, mask in (("E", right, shifted["asked"] == n), ("U", right, shifted["asked"] == 16 + n),
                                       ("state", state_right, (batch["depth"][:, :-1] == n) & (batch["value"][:, :-1] >= 0))):
                self._add(f"{label}{n}", flags[mask].sum().item(), mask.sum().item())

    def _add(self, name, total, count):
        old_total, old_count = self.tally.get(name, (0.0, 0.0))
        self.tally[name] = (old_total + total, old_count + count)

    def report(self):
        mean = {name: total / count for name, (total, count) in self.tally.items() if count}
        text = " ".join(f"{name} {mean[name]:.3f}" for name in ("loss", "gap", "note", "tale") if name in mean)
        for label in ("E", "U", "state"):
            text += f" | {label} " + " ".join(f"{100 * mean[f'{label}{n}']:.0f}" if f"{label}{n}" in mean else "-" for n in range(7))
        print(f"step {self.step} stage {self.stage} tokens {self.tokens / 1e6:.2f}M {self.seconds:.0f}s rate {self.rate():.2f} {text}", flush=True)
        current = max(STAGES[self.stage]["E"])
        ready = mean.get(f"E{current}", 0) > STAGE_ACCURACY or self.step - self.stage_began >= STAGE_STEPS
        if ready and self.stage + 1 < len(STAGES):
            self.stage, self.stage_began = self.stage + 1, self.step
        self.tally = {}

    def state(self):
        return {"model": self.model.state_dict(), "adam": self.adam.state_dict(),
                "buffers": self.orthogonal.buffers, "width": self.args.width, "seed": self.args.seed,
                **{name: getattr(self, name) for name in ("step", "stage", "stage_began", "tokens", "seconds")}}

    def save(self):
        fresh = self.args.checkpoint.with_suffix(".new")
        torch.save(self.state(), fresh)
        fresh.replace(self.args.checkpoint)

    def resume(self):
        state = torch.load(self.args.checkpoint)
        for name in ("width", "seed"):
            made, wanted = state.pop(name, None), getattr(self.args, name)
            if made not in (None, wanted):
                raise SystemExit(f"{self.args.checkpoint}: --{name}: the checkpoint has {made}, got {wanted}")
        self.model.load_state_dict(state.pop("model"))
        self.adam.load_state_dict(state.pop("adam"))
        self.orthogonal.buffers = state.pop("buffers")
        for name, value in state.items():
            setattr(self, name, value)

    def run(self):
        stop = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
        saved = time.time()
        while self.step < self.args.steps and not stop:
            began = time.time()
            self.train_step()
            self.seconds += time.time() - began
            if self.step % self.args.report == 0:
                self.report()
            if time.time() - saved > self.args.save_every:
                self.save()
                saved = time.time()
        self.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("tiny.ckpt"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for model.safetensors and config.json")
    parser.add_argument("--export-only", action="store_true", help="export the checkpoint as it is")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=256, help="d_model, a multiple of 64: heads of 32, two key-value heads, d_ff twice the width")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--decay", type=int, default=800, help="steps over which the rate falls to zero at the end")
    parser.add_argument("--rate", type=float, default=0.012, help="rate of the matrices")
    parser.add_argument("--adam-rate", type=float, default=3e-3, help="rate of embeddings and norms")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--length", type=int, default=128, help="tokens a row; while the rate changes every fourth batch has rows twice as long")
    parser.add_argument("--mix", type=lambda s: [float(x) for x in s.split(",")], default=[0.12, 0.03, 0.85],
                        help="shares of documents: grammar, stories, tasks")
    parser.add_argument("--threads", type=int, default=2, help="workers")
    parser.add_argument("--report", type=int, default=50)
    parser.add_argument("--save-every", type=float, default=120, help="seconds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trainer = Trainer(args)
    if args.checkpoint.exists():
        trainer.resume()
    if not args.export_only:
        trainer.run()
    args.out.mkdir(exist_ok=True)
    export(trainer.model, args.out)


if __name__ == "__main__":
    main()
