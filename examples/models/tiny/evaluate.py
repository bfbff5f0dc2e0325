"""Measures the exported model on held-out data and writes figures.json."""

import argparse
import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F

import corpus
from model import load

FITTED_CHAINS = 60_000
BATCH_TOKENS = 8192


class Scorer:
    def __init__(self, folder):
        self.model = load(folder)
        self.words = (folder / "vocab.txt").read_text().split("\n")[:-1]
        self.word_id = {word: i for i, word in enumerate(self.words)}

    @torch.no_grad()
    def logits(self, texts):
        """Logits after each word of each text, `<doc>` being put first; yields (index of the text, logits)."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        while order:
            longest = len(texts[order[-1]]) + 1
            chosen = [order.pop() for _ in range(min(len(order), max(1, BATCH_TOKENS // longest)))]
            ids = torch.zeros(len(chosen), longest, dtype=torch.long)
            for row, i in zip(ids, chosen):
                row[1:len(texts[i]) + 1] = torch.tensor([self.word_id[w] for w in texts[i]])
            for i, out in zip(chosen, self.model.logits(self.model.hidden(ids))):
                yield i, out[:len(texts[i]) + 1]

    def nll(self, documents):
        """-> for each document the negative log-probability of each of its words and of the `<doc>` after it."""
        out = [None] * len(documents)
        for i, logits in self.logits(documents):
            targets = torch.tensor([self.word_id[w] for w in [*documents[i], corpus.DOC]])
            out[i] = F.cross_entropy(logits, targets, reduction="none").double()
        return out

    def greedy_answers(self, items):
        """The greedy choice after the prompt and after each word of the true answer but the last. The answer is
        decoded exactly if and only if all of these equal it, for until the first error both see the same words."""
        answers = [item["answer"].split() for item in items]
        texts = [item["prompt"].split() + answer[:-1] for item, answer in zip(items, answers)]
        out = [None] * len(items)
        for i, logits in self.logits(texts):
            out[i] = [self.words[k] for k in logits[-len(answers[i]):].argmax(-1)]
        return out


def grammar_figures(scorer, seed, count):
    grammar, rng, documents = corpus.Grammar(), random.Random(f"evaluation {seed}"), []
    while len(documents) < count:
        words = grammar.document(rng)
        if corpus.document_held_out(words):
            documents.append(words)
    true = torch.tensor([-p for words in documents for p in grammar.log_probs(words)]).double()
    model = torch.cat([nll[1:] for nll in scorer.nll(documents)])
    gap = model - true
    return {"documents": count, "tokens": len(true), "entropy": true.mean().item(), "model_nll": model.mean().item(),
            "gap": gap.mean().item(), "gap_se": (gap.std() / len(gap) ** 0.5).item()}


def heldout_figures(scorer, folder):
    documents = [line.split() for line in (folder / "heldout.txt").read_text().splitlines()]
    totals = defaultdict(lambda: [0.0, 0])
    for words, nll in zip(documents, scorer.nll(documents)):
        for kind in (words[0], "all"):
            totals[kind][0] += nll.sum().item()
            totals[kind][1] += len(nll)
    return {kind: {"tokens": count, "nll_per_token": total / count} for kind, (total, count) in totals.items()}


def fitted_predictors(kind, n, seed):
    """The best answer given nothing, the start value or the last step, on chains drawn as in training."""
    rng = random.Random(f"chance {seed} {n}")
    seen = {"majority": defaultdict(Counter), "start": defaultdict(Counter), "last_step": defaultdict(Counter)}
    for _ in range(FITTED_CHAINS):
        start, steps = rng.choice(corpus.STARTS), tuple(rng.sample(corpus.STEP_NAMES, n))
        if corpus.chain_held_out(start, steps):
            continue
        answer = " ".join([*steps, "."]) if kind == "U" else str(corpus.run_steps(start, steps))
        for name, key in (("majority", None), ("start", start), ("last_step", steps[-1])):
            seen[name][key][answer] += 1
    return {name: {key: counts.most_common(1)[0][0] for key, counts in table.items()} for name, table in seen.items()}


def chance_parts(kind, n, items, given, steps_of, seed):
    rng, share = random.Random(seed), lambda hits: sum(hits) / len(items)
    truth = [item["answer"] for item in items]
    permuted = []
    for _ in range(20):
        rng.shuffle(shuffled := truth[:])
        permuted.append(share(a == b for a, b in zip(given, shuffled)))
    best = fitted_predictors(kind, n, seed)
    return {"permuted_labels": sum(permuted) / len(permuted),
            "start_alone": share(best["start"][item["start"]] == item["answer"] for item in items),
            "last_step_alone": share(best["last_step"].get(steps_of[item["id"]][-1]) == item["answer"] for item in items),
            "majority": share(best["majority"][None] == item["answer"] for item in items)}


def by_telling(items, right):
    """Accuracy apart for one and two persons, told in order or with `before that`."""
    hits = defaultdict(list)
    for item, r in zip(items, right):
        hits[f"{item['persons']}_persons_{'reordered' if item['reordered'] else 'in_order'}"].append(r)
    return {name: {"n_items": len(h), "accuracy": sum(h) / len(h)} for name, h in sorted(hits.items())}


def task_figures(scorer, folder, seed):
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    given = [" ".join(words) for words in scorer.greedy_answers(items)]
    steps_of = {item["id"]: item["answer"].split()[:-1] for item in items if item["kind"] == "U"}
    out = {}
    for kind in "UE":
        by_length = {}
        for n in sorted({item["n"] for item in items}):
            of = [i for i, item in enumerate(items) if (item["kind"], item["n"]) == (kind, n)]
            chosen, answers = [items[i] for i in of], [given[i] for i in of]
            right = [a == item["answer"] for a, item in zip(answers, chosen)]
            accuracy, count = sum(right) / len(right), len(right)
            chance = chance_parts(kind, n, chosen, answers, steps_of, seed)
            se, bound = (accuracy * (1 - accuracy) / count) ** 0.5, max(chance.values())
            spread = (se ** 2 + bound * (1 - bound) / count) ** 0.5
            by_length[n] = {"n_items": count, "accuracy": accuracy, "se": se, "chance": bound, "chance_parts": chance,
                            "standard_errors_above_chance": (accuracy - bound) / max(spread, 1 / count),
                            "by_telling": by_telling(chosen, right)}
        pooled = sum(f["accuracy"] * f["n_items"] for f in by_length.values()) / sum(f["n_items"] for f in by_length.values())
        of = [i for i, item in enumerate(items) if item["kind"] == kind]
        telling = by_telling([items[i] for i in of], [given[i] == items[i]["answer"] for i in of])
        out[kind] = {"pooled_accuracy": pooled, "pooled_by_telling": telling, "by_steps": by_length}
    return out


def bars(figures):
    u, e = (figures["tasks"][kind]["by_steps"].values() for kind in "UE")
    return {"grammar_gap_below_0.1": figures["grammar"]["gap"] < 0.1,
            "u_pooled_at_least_90": figures["tasks"]["U"]["pooled_accuracy"] >= 0.9,
            "u_between_60_and_98_somewhere": any(0.6 <= f["accuracy"] <= 0.98 for f in u),
            "e_between_50_and_95_at_two": sum(0.5 <= f["accuracy"] <= 0.95 for f in e) >= 2,
            "u_ten_standard_errors_everywhere": all(f["standard_errors_above_chance"] >= 10 for f in u),
            "e_ten_standard_errors_everywhere": all(f["standard_errors_above_chance"] >= 10 for f in e),
            "at_least_1000_items_everywhere": all(f["n_items"] >= 1000 for f in [*u, *e])}


def main():
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", type=Path, default=here, help="folder with the model, vocab.txt, heldout.txt and items.jsonl")
    parser.add_argument("--figures", type=Path, default=here / "figures.json")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grammar-documents", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--training", type=json.loads, default={}, help="JSON to be recorded: steps, tokens and seconds of the training run")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scorer = Scorer(args.model)
    figures = {"parameters": sum(p.numel() for p in scorer.model.parameters()), "training": args.training,
               "grammar": grammar_figures(scorer, args.seed, args.grammar_documents),
               "heldout": heldout_figures(scorer, args.model), "tasks": task_figures(scorer, args.model, args.seed)}
    figures["bars"] = bars(figures)
    args.figures.write_text(json.dumps(figures, indent=1) + "\n")
    for kind, tasks in figures["tasks"].items():
        print(kind, f"pooled {tasks['pooled_accuracy']:.3f}", {n: round(f["accuracy"], 3) for n, f in tasks["by_steps"].items()})
    print("grammar", figures["grammar"])
    print("bars", figures["bars"])


if __name__ == "__main__":
    main()
