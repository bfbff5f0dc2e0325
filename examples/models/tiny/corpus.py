"""Seeded generator of the corpus: a stochastic grammar, short stories and multi-step tasks.

A document is a list of words. The first word names its kind: `note` (grammar), `tale` (story)
or `game` (task). Nothing here depends on anything but the seed that is handed in.
"""

import argparse
import hashlib
import json
import math
import os
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DOC = "<doc>"
PUNCTUATION = [".", ",", ":", ";", "?"]
NAMES = ["ann", "bob", "cal", "dee", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "leo"]
SHE = {"ann", "dee", "eve", "fay", "ida", "kim"}


# --- grammar -------------------------------------------------------------------------------

DETERMINERS = [("the", 0.5, ("one", "many")), ("a", 0.2, ("one",)), ("every", 0.1, ("one",)), ("some", 0.2, ("many",))]
ADJECTIVES = ["old", "small", "grey", "quick", "proud", "quiet"]
NOUNS = [("fox", "foxes"), ("crow", "crows"), ("king", "kings"), ("miller", "millers"), ("sailor", "sailors"),
         ("giant", "giants"), ("witch", "witches"), ("goose", "geese")]
SPOTS = ["mill", "bridge", "tower", "well"]
IDLE_VERBS = [("sleeps", "sleep"), ("sings", "sing"), ("waits", "wait"), ("limps", "limp")]
VERBS = [("sees", "see"), ("hunts", "hunt"), ("paints", "paint"), ("sells", "sell"), ("hides", "hide"),
         ("breaks", "break"), ("fears", "fear"), ("guards", "guard")]
OBJECTS = ["moon", "wheel", "lamp", "crown", "rope", "bell", "mask", "stone", "drum", "cloak"]
ADVERBS = ["slowly", "often", "never", "gladly", "alone"]
PRONOUNS = {"one": "it", "many": "they"}
MAX_SENTENCES = 6


class Grammar:
    """Finite-state source. In each state every word leads to one next state, so the probability of
    a word given its prefix is read off the table of the state that the prefix leads to."""

    def __init__(self, seed=7):
        rng = random.Random(seed)
        peaked = lambda size, ratio=0.5: self._peaked(rng, size, ratio)
        self.adjective = peaked(len(ADJECTIVES))
        self.noun = {a: peaked(len(NOUNS), 0.6) for a in [None, *range(len(ADJECTIVES))]}
        self.verb = [peaked(len(VERBS)) for _ in NOUNS]
        self.idle = [peaked(len(IDLE_VERBS)) for _ in NOUNS]
        self.spot = [peaked(len(SPOTS)) for _ in NOUNS]
        self.object = [peaked(len(OBJECTS)) for _ in VERBS]
        self.adverb = [peaked(len(ADVERBS)) for _ in VERBS]
        self.start = ("sentence", 0, None, None)
        self.options = lru_cache(maxsize=None)(self._options)

    @staticmethod
    def _peaked(rng, size, ratio):
        weights = [ratio ** rank for rank in range(size)]
        rng.shuffle(weights)
        total = sum(weights)
        return [w / total for w in weights]

    def _options(self, state):
        """-> [(word, probability, next state)], probabilities adding up to one."""
        return getattr(self, "_" + state[0])(*state[1:])

    def _sentence(self, count, noun, number):
        out, left = [], 1.0
        if count:
            end = 1.0 if count == MAX_SENTENCES else 0.4
            out.append((DOC, end, None))
            left -= end
            if left <= 0:
                return out
            out.append((PRONOUNS[number], 0.4 * left, ("predicate", count, noun, number)))
            left *= 0.6
        return out + [(w, p * left, ("subject", count, numbers, None)) for w, p, numbers in DETERMINERS]

    def _subject(self, count, numbers, adjective):
        out, left = [], 1.0
        if adjective is None:
            out += [(w, 0.3 * p, ("subject", count, numbers, i)) for i, (w, p) in enumerate(zip(ADJECTIVES, self.adjective))]
            left = 0.7
        share = {"one": 0.6, "many": 0.4} if len(numbers) == 2 else {numbers[0]: 1.0}
        for number, s in share.items():
            out += [(NOUNS[i][number == "many"], left * s * p, ("after_noun", count, i, number))
                    for i, p in enumerate(self.noun[adjective])]
        return out

    def _after_noun(self, count, noun, number):
        return [("near", 0.2, ("near", count, noun, number)), ("that", 0.15, ("idle_clause", count, noun, number)),
                *self._verbs(count, noun, number, 0.65)]

    def _near(self, count, noun, number):
        return [(w, p, ("predicate", count, noun, number)) for w, p in zip(SPOTS, self.spot[noun])]

    def _idle_clause(self, count, noun, number):
        return [(w[number == "many"], p, ("predicate", count, noun, number)) for w, p in zip(IDLE_VERBS, self.idle[noun])]

    def _predicate(self, count, noun, number):
        return self._verbs(count, noun, number, 1.0)

    def _verbs(self, count, noun, number, share):
        return [(w[number == "many"], share * p, ("object", count, noun, number, v))
                for v, (w, p) in enumerate(zip(VERBS, self.verb[noun]))]

    def _object(self, count, noun, number, verb):
        return [(w, p, ("after_object", count, noun, number, verb)) for w, p in zip(OBJECTS, self.object[verb])]

    def _after_object(self, count, noun, number, verb):
        return [(".", 0.55, ("sentence", count + 1, noun, number)), ("and", 0.15, ("predicate", count, noun, number)),
                *((w, 0.3 * p, ("stop", count, noun, number)) for w, p in zip(ADVERBS, self.adverb[verb]))]

    def _stop(self, count, noun, number):
        return [(".", 1.0, ("sentence", count + 1, noun, number))]

    def document(self, rng):
        words, state = ["note"], self.start
        while True:
            draw = rng.random()
            for word, p, following in self.options(state):
                draw -= p
                if draw < 0:
                    break
            if word == DOC:
                return words
            words.append(word)
            state = following

    def log_probs(self, words):
        """Exact log-probability of each word after `note`, and of the `<doc>` that follows the last one."""
        out, state = [], self.start
        for word in [*words[1:], DOC]:
            p, state = next((p, following) for w, p, following in self.options(state) if w == word)
            out.append(math.log(p))
        return out


# --- stories -------------------------------------------------------------------------------

PLACES = ["garden", "school", "harbor", "market", "forest", "kitchen", "castle", "meadow"]
THINGS = ["ball", "key", "book", "ring", "boat", "kite", "coin", "hat", "flute", "map"]
COLOURS = ["red", "blue", "green", "white", "black", "golden"]
TIMES = ["morning", "evening", "night", "winter"]
MOODS = ["happy", "sad", "tired", "angry", "brave"]


def story(rng):
    """A few events of a small world in which places and owners are kept track of."""
    a, b = rng.sample(NAMES, 2)
    here, there = rng.sample(PLACES, 2)
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    place, holder, told = {a: here, b: there}, a, None
    pronoun = lambda who: "she" if who in SHE else "he"
    words = ["tale"]
    say = lambda text: words.extend(text.split())
    say(rng.choice([f"one {rng.choice(TIMES)} {a} was in the {here} .", f"{a} lived in the {here} ."]))
    say(rng.choice([f"{pronoun(a)} found a {colour} {thing} .", f"{pronoun(a)} had a {colour} {thing} ."]))
    say(f"{b} was in the {there} .")
    for _ in range(rng.randint(2, 4)):
        other = b if holder == a else a
        if place[a] == place[b]:
            event = rng.choice(["give", "steal", "mood", "leave"])
        else:
            event = rng.choice(["visit", "visit", "miss", "show"])
        if event == "give":
            say(f"{holder} gave the {thing} to {other} .")
            holder = other
        elif event == "steal":
            say(f"{other} took the {colour} {thing} from {holder} and {holder} was {rng.choice(['sad', 'angry'])} .")
            holder = other
        elif event == "mood":
            mood = rng.choice(MOODS)
            say(f"{holder} was {mood} and {pronoun(holder)} hid the {thing} in the {place[holder]} .")
        elif event == "leave":
            goal = rng.choice([p for p in PLACES if p != place[holder]])
            say(f"{holder} went to the {goal} with the {thing} .")
            place[holder] = goal
        elif event == "visit":
            say(f"{holder} went to the {place[other]} and {pronoun(holder)} met {other} there .")
            place[holder] = place[other]
        elif event == "miss":
            say(f"{other} wanted the {colour} {thing} but {holder} was far away .")
        else:
            say(f"{other} went to the {place[holder]} because {pronoun(other)} wanted to see the {thing} .")
            place[other] = place[holder]
    say(rng.choice([f"at last the {colour} {thing} was in the {place[holder]} with {holder} .",
                    f"so {holder} kept the {thing} in the {place[holder]} ."]))
    return words


# --- tasks ---------------------------------------------------------------------------------

STARTS = range(12, 20)
VALUES = 32             # no chain of different steps leaves 0 .. 31
STEPS = {"rises": 1, "falls": -1, "jumps": 2, "drops": -2, "climbs": 1, "sinks": -1, "soars": 2, "dives": -2,
         "leaps": 2, "grows": 1, "dips": -1, "slumps": -2}
STEP_NAMES = list(STEPS)
TEMPLATES = [("{who} {x} :", "."), ("with {who} {x} ,", ";"), ("from {who} {x} ;", "end ."), ("{who} {x} and", ".")]
QUESTIONS = {"U": "which steps did {who} take ?", "E": "what does {who} have ?"}
REORDER_SHARE, COMPANION_SHARE = 0.05, 0.1         # of held-out items; training has more of both
CHAINS_HELD_OUT_ONE_IN, DOCUMENTS_HELD_OUT_ONE_IN = 3, 12


def run_steps(start, steps):
    return start + sum(STEPS[step] for step in steps)


def fingerprint(text):
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=1 << 20)
def chain_held_out(start, steps):
    """One in three chains (start value and ordered steps, whatever the template) is never trained on.
    Single steps are all trained: there are too few to keep any back."""
    return len(steps) > 1 and fingerprint(f"{start} {' '.join(steps)}") % CHAINS_HELD_OUT_ONE_IN == 0


def chain_measured(start, steps):
    """The held-out chains that items are made of: all of two steps, a quarter of the longer ones."""
    return chain_held_out(start, steps) and (len(steps) == 2 or fingerprint(f"{start} {' '.join(steps)}") % 4 == 0)


def document_held_out(words):
    return fingerprint(" ".join(words)) % DOCUMENTS_HELD_OUT_ONE_IN == 0


@dataclass
class Person:
    name: str
    start: int
    steps: tuple        # in the order in which they happen
    reordered: int      # the step with this index is told after the next one; -1: none

    def told(self):
        """-> [(step, told with `before that`, value after all told so far, those steps in order)]"""
        order = list(range(len(self.steps)))
        k = self.reordered
        if k >= 0:
            order[k], order[k + 1] = order[k + 1], order[k]
        out = []
        for position, index in enumerate(order):
            done = tuple(self.steps[i] for i in sorted(order[:position + 1]))
            out.append((self.steps[index], index == k, run_steps(self.start, done), done))
        return out


def person(rng, name, start, steps, reorder_share):
    reordered = rng.randrange(len(steps) - 1) if len(steps) > 1 and rng.random() < reorder_share else -1
    return Person(name, start, tuple(steps), reordered)


def company(rng, n, start=None, steps=None, reorder_share=REORDER_SHARE, companion_share=COMPANION_SHARE):
    """The person asked about and, in some items, a second one. All steps of an item differ."""
    start = rng.choice(STARTS) if start is None else start
    steps = rng.sample(STEP_NAMES, n) if steps is None else steps
    names = rng.sample(NAMES, 2)
    people = [person(rng, names[0], start, steps, reorder_share)]
    if rng.random() < companion_share:
        unused = [step for step in STEP_NAMES if step not in steps]
        count = min(len(unused), rng.randint(max(0, n - 2), n + 1))
        people.append(person(rng, names[1], rng.choice(STARTS), rng.sample(unused, count), reorder_share))
    return people


def task_prompt(rng, template, people):
    """-> words of the telling, and {index of a step word: (value, start, steps so far)} for training."""
    opening, closing = TEMPLATES[template]
    words, values = ["game"], {}
    for who in rng.sample(people, len(people)):
        words += opening.format(who=who.name, x=who.start).split()
        for step, before, value, done in who.told():
            words += ["before", "that"] if before else []
            values[len(words)] = (value, who.start, done)
            words.append(step)
        words += closing.split()
    return words, values


def question(kind, name):
    return QUESTIONS[kind].format(who=name).split()


def answer(kind, who):
    return [*who.steps, "."] if kind == "U" else [str(run_steps(who.start, who.steps))]


def task_document(rng, kind, n, held_out=False, **shares):
    """-> words, values (see task_prompt) and [(index of the first answer word, answer words, n)].
    Where there are two persons, half of the documents ask the same kind of question about both."""
    while True:
        people = company(rng, n, **shares)
        asked = people if rng.random() < 0.5 else people[:1]
        fits = chain_measured if held_out else lambda *chain: not chain_held_out(*chain)
        if all(fits(p.start, p.steps) for p in asked):
            break
    words, values = task_prompt(rng, rng.randrange(len(TEMPLATES)), people)
    answers = []
    for p in asked:
        words += question(kind, p.name)
        answers.append((len(words), answer(kind, p), len(p.steps)))
        words += answer(kind, p) + (["."] if kind == "E" else [])
    return words, values, answers


def held_out_items(seed, lengths, per_length):
    """Distinct (start, steps, template) triples whose chain is held out."""
    for n in lengths:
        rng, seen = random.Random(f"items {seed} {n}"), set()
        while len(seen) < per_length:
            chain = rng.choice(STARTS), tuple(rng.sample(STEP_NAMES, n))
            template = rng.randrange(len(TEMPLATES))
            if (chain, template) in seen or not chain_measured(*chain):
                continue
            seen.add((chain, template))
            people = company(rng, n, *chain)
            asked = people[0]
            words, _ = task_prompt(rng, template, people)
            for kind in "UE":
                yield {"id": f"{n}-{len(seen)}", "n": n, "template": template, "kind": kind, "start": asked.start,
                       "reordered": asked.reordered >= 0, "persons": len(people), "prompt": " ".join(words + question(kind, asked.name)),
                       "answer": " ".join(answer(kind, asked))}


# --- vocabulary and files ------------------------------------------------------------------

def vocabulary():
    """The word table: id = position. Padded to a multiple of 32."""
    told = [word for parts in TEMPLATES for part in parts for word in part.split() if "{" not in word]
    asked = [word for text in QUESTIONS.values() for word in text.split() if "{" not in word]
    grammar = [w for w, *_ in DETERMINERS] + ADJECTIVES + [w for pair in NOUNS + VERBS + IDLE_VERBS for w in pair]
    grammar += SPOTS + OBJECTS + ADVERBS + list(PRONOUNS.values()) + ["near", "that", "and"]
    tales = "one was in the lived found had a she he gave to took from and hid went with met there wanted but far away because see at last so kept".split()
    words = [DOC, *PUNCTUATION, "note", "tale", "game", *map(str, range(VALUES)), *STEP_NAMES, *NAMES, "before", "that"]
    words = list(dict.fromkeys(words + told + asked + grammar + tales + PLACES + THINGS + COLOURS + TIMES + MOODS))
    return words + [f"<spare{i}>" for i in range(-len(words) % 32)]


def documents(rng, held_out):
    """A mixture of all kinds without end; all of them held out, or none."""
    grammar = Grammar()
    make = {"note": lambda: grammar.document(rng), "tale": lambda: story(rng),
            "game": lambda: task_document(rng, rng.choice("UE"), rng.randint(3, 5), held_out=held_out)[0]}
    while True:
        kind = rng.choice(["note", "note", "tale", "game", "game"])
        words = make[kind]()
        while not 10 <= len(words) <= 80 or kind != "game" and document_held_out(words) != held_out:
            words = make[kind]()
        yield words


def held_out_documents(seed, tokens):
    """Documents that are not trained on."""
    total = 0
    for words in documents(random.Random(f"heldout {seed}"), held_out=True):
        if total >= tokens:
            return
        total += len(words) + 1
        yield words


ROLES = {"calibration": [0], "selection": [1], "train": [2, 3, 4, 5, 6, 7]}  # what a hash of a document leaves of 8


def role_documents(role, seed, count):
    """Different documents for one role of a study. None is held out, and none has two roles, whatever the seeds."""
    known = set()
    for words in documents(random.Random(f"{role} {seed}"), held_out=False):
        if len(known) == count:
            return
        text = " ".join(words)
        if text not in known and fingerprint(f"role {text}") % 8 in ROLES[role]:
            known.add(text)
            yield words


def write_documents(path, found):
    """The whole file at once: who reads it meanwhile reads the old one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text("".join(" ".join(d) + "\n" for d in found))
    temporary.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent,
                        help="folder for vocab.txt, heldout.txt and items.jsonl; with --role the file to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=40000, help="tokens of heldout.txt")
    parser.add_argument("--lengths", default="3,4,5,6", help="numbers of steps of the items")
    parser.add_argument("--items", type=int, default=1040, help="items per number of steps")
    parser.add_argument("--role", choices=ROLES, help="write documents for this role of a study, and nothing else")
    parser.add_argument("--documents", type=int, default=1400, help="how many, with --role")
    args = parser.parse_args()
    if args.role:
        if args.documents < 1:
            parser.error(f"argument --documents: got {args.documents}, wanted 1 or more")
        write_documents(args.out, role_documents(args.role, args.seed, args.documents))
        return
    (args.out / "vocab.txt").write_text("".join(w + "\n" for w in vocabulary()))
    write_documents(args.out / "heldout.txt", held_out_documents(args.seed, args.tokens))
    items = held_out_items(args.seed, map(int, args.lengths.split(",")), args.items)
    (args.out / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))


if __name__ == "__main__":
    main()
