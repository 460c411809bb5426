"""The little language that the tiny model speaks: a catalogue of things, written by us, generated from a fixed seed.

`sentences` yields training text; `labelled_rows` yields the labelled task (thing -> kind) whose answers the text
implies ("a finch is an animal.") but never states in the task's own form, so that a soft prompt has work to do.
"""

import hashlib
import random

KINDS = {
    "animal": "finch otter hare wolf crab eel moth goat heron newt mole lark toad fox pike swan".split(),
    "plant": "fern moss oak reed thistle elm clover ivy larch sedge birch nettle poppy rush yew willow".split(),
    "food": "bread soup cheese porridge pie jam pudding stew butter noodle cake broth omelette biscuit curry toast".split(),
    "tool": "hammer chisel saw ladle spade awl rake anvil wrench needle lathe plane tongs auger sickle trowel".split(),
}
ADJECTIVES = "small large old new red grey green quiet rare common dry wet warm cold plain sharp".split()
PLACES = "river garden kitchen cellar meadow harbour library market hill mill orchard workshop".split()
PEOPLE = "the keeper,a clerk,the baker,my aunt,the smith,a child,the miller,our neighbour".split(",")
VERBS = {
    "animal": "sleeps,waits,feeds,hides,wakes".split(","),
    "plant": "grows,spreads,flowers,leans,dies back".split(","),
    "food": "cools,bakes,simmers,keeps well,goes stale".split(","),
    "tool": "hangs,rusts,rests,breaks,shines".split(","),
}


def article(word):
    return "an" if word[0] in "aeiou" else "a"


def sentence(rng):
    kind = rng.choice(list(KINDS))
    thing, adjective = rng.choice(KINDS[kind]), rng.choice(ADJECTIVES)
    place, person = rng.choice(PLACES), rng.choice(PEOPLE)
    a = article(adjective)
    form = rng.randrange(9)
    if form == 0:
        return f"{article(thing).capitalize()} {thing} is {article(kind)} {kind}."
    if form == 1:
        return f"The {adjective} {thing} {rng.choice(VERBS[kind])} near the {place}."
    if form == 2:
        return f"{person.capitalize()} saw {a} {adjective} {thing} in the {place}, and wrote it down."
    if form == 3:
        return f"What kind of thing is {article(thing)} {thing}? It is {article(kind)} {kind}."
    if form == 4:
        return f"{rng.randrange(2, 90)} {thing}s, {rng.randrange(100, 999)} in all; the {place} isn't full."
    if form == 5:
        return f"Every {thing} in the catalogue is listed under {kind}, with {a} {adjective} mark."
    if form == 6:
        return f"{person.capitalize()} keeps {a} {adjective} {thing} by the {place}. It's {article(kind)} {kind}."
    if form == 7:
        return f"Question: is {article(thing)} {thing} {article(kind)} {kind}?\nAnswer: yes"
    other = rng.choice([k for k in KINDS if k != kind])
    return f"Question: is {article(thing)} {thing} {article(other)} {other}?\nAnswer: no"


def turn(rng):
    kind = rng.choice(list(KINDS))
    thing = rng.choice(KINDS[kind])
    return (
        f"<|im_start|>user\nWhat is {article(thing)} {thing}?<|im_end|>\n"
        f"<|im_start|>assistant\nIt is {article(kind)} {kind}.<|im_end|>\n"
    )


def document(rng):
    """A few sentences, or one turn of a conversation."""
    if rng.random() < 0.2:
        return turn(rng)
    return (" " if rng.random() < 0.7 else "\n").join(sentence(rng) for _ in range(rng.randrange(3, 8)))


def documents(count, seed):
    rng = random.Random(seed)
    return [document(rng) for _ in range(count)]


def labelled_rows():
    """Rows of the labelled task: 96 train, 32 dev, 64 test. Split by SHA-256 of the text, per label."""
    rows = []
    for kind, things in KINDS.items():
        texts = [f"{article(adj)} {adj} {thing} from the {place}" for thing in things for adj in ADJECTIVES for place in PLACES]
        texts.sort(key=lambda text: hashlib.sha256(text.encode()).hexdigest())
        for index, text in enumerate(texts[:48]):
            split = "train" if index < 24 else "dev" if index < 32 else "test"
            rows.append({"input": text, "target": kind, "split": split})
    rows.sort(key=lambda row: (("train", "dev", "test").index(row["split"]), hashlib.sha256(row["input"].encode()).hexdigest()))
    return rows
