"""The stand-in for Yelp: review sentences composed from a small grammar, and product reviews as its similar domain.

Nobody wrote these sentences about a real place. Some of them say what they think plainly; the others deny a word of
praise or blame, or concede one thing and settle on another, so that counting words is not enough to be always right.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """The words of one kind of review. Praise and blame are adjectives that fit every thing."""

    things: tuple[str, ...]
    praise: tuple[str, ...]
    blame: tuple[str, ...]
    whole: tuple[str, ...]  # what is judged in the end
    openings: tuple[str, ...]
    good_ends: tuple[str, ...]
    bad_ends: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


RESTAURANTS = Domain(
    things=_words(
        "soup, bread, pasta, service, waiter, staff, coffee, dessert, steak, salad, burger, sushi, "
        "pizza, curry, fish, rice, wine, breakfast, lunch menu, patio, sauce, chicken, noodle bowl, "
        "tea, music, brunch, seafood, host, bartender, kitchen"
    ),
    praise=_words(
        "delicious, fresh, friendly, great, wonderful, tasty, excellent, charming, perfect, lovely, "
        "superb, generous, warm, delightful, outstanding, pleasant, memorable, impressive, quick, good"
    ),
    blame=_words(
        "bland, stale, rude, awful, terrible, soggy, greasy, slow, cold, overpriced, disappointing, "
        "horrible, dry, burnt, careless, noisy, dirty, mediocre, tasteless, bad"
    ),
    whole=("this place", "the restaurant", "our dinner", "the evening", "the whole meal", "this cafe", "our visit"),
    openings=(
        "",
        "honestly, ",
        "last night ",
        "on a Friday, ",
        "for lunch, ",
        "once again ",
        "with friends, ",
        "to me ",
    ),
    good_ends=(
        "we will come back",
        "I would return tomorrow",
        "I recommend it",
        "we left happy",
        "it is worth the drive",
        "it made our week",
        "I keep telling friends about it",
    ),
    bad_ends=(
        "we will stay away",
        "I would eat elsewhere",
        "I warn everyone about it",
        "we left hungry",
        "it is a waste of money",
        "it ruined our week",
        "I asked for my money back",
    ),
)
PRODUCTS = Domain(
    things=_words(
        "battery, screen, phone, headset, charger, speaker, keyboard, camera, cable, case, software, "
        "sound, button, manual, microphone, packaging, display, support, delivery, seller"
    ),
    praise=_words(
        "reliable, sturdy, great, excellent, clear, comfortable, handy, perfect, bright, fast, "
        "impressive, good, superb, pleasant, wonderful, solid"
    ),
    blame=_words(
        "flimsy, useless, awful, broken, terrible, defective, slow, disappointing, cheap, unreliable, "
        "horrible, bad, dull, overpriced, careless, faulty"
    ),
    whole=("this device", "the purchase", "this model", "the whole set", "my order"),
    openings=("", "honestly, ", "after a month, ", "out of the box, ", "on the train ", "once again "),
    good_ends=("I would buy it again", "I recommend it", "it is worth the price", "it made my week", "I am keeping it"),
    bad_ends=(
        "I sent it back",
        "I want a refund",
        "it is a waste of money",
        "I warn everyone about it",
        "it ended in the bin",
    ),
)


def sentences(domain: Domain, count: int, seed: int) -> tuple[list[str], list[int]]:
    """`count` different sentences, half of them praise (1) and half blame (0), in random order."""
    draws = random.Random(f"composed {seed} {domain.things[0]}")
    found: dict[str, int] = {}
    for label in (0, 1):
        while sum(value == label for value in found.values()) < (count + label) // 2:
            sentence = _sentence(domain, label, draws)
            found.setdefault(sentence, label)
    rows = list(found.items())
    draws.shuffle(rows)
    return [sentence for sentence, _ in rows], [label for _, label in rows]


def _sentence(domain: Domain, label: int, draws: random.Random) -> str:
    form = draws.choices((_plain, _denied, _conceded, _ended), weights=(40, 20, 25, 15))[0]
    text = draws.choice(domain.openings) + form(domain, label, draws)
    return text[0].upper() + text[1:] + draws.choice((".", ".", ".", "!", "..."))


def _word(domain: Domain, label: int, draws: random.Random) -> str:
    return draws.choice(domain.praise if label else domain.blame)


def _plain(domain: Domain, label: int, draws: random.Random) -> str:
    very = draws.choice(("", "", "very ", "really ", "so "))
    first, second = draws.sample(domain.things, 2)
    return draws.choice(
        (
            f"the {first} was {very}{_word(domain, label, draws)}",
            f"the {first} was {_word(domain, label, draws)} and the {second} {very}{_word(domain, label, draws)}",
            f"{draws.choice(domain.whole)} had {very}{_word(domain, label, draws)} {first}",
        )
    )


def _denied(domain: Domain, label: int, draws: random.Random) -> str:
    """The opposite word, denied; now and then at some distance from its denial."""
    wrong, thing = _word(domain, 1 - label, draws), draws.choice(domain.things)
    return draws.choice(
        (
            f"the {thing} was not {wrong}",
            f"the {thing} was never {draws.choice(('even ', 'at all ', ''))}{wrong}",
            f"nobody at our table would call the {thing} {wrong}",
            f"I cannot say that the {thing} was {wrong}",
            f"{draws.choice(domain.whole)} was anything but {wrong}",
        )
    )


def _conceded(domain: Domain, label: int, draws: random.Random) -> str:
    """One clause for each side; what comes last, or what is not conceded, decides."""
    lost, kept = _word(domain, 1 - label, draws), _word(domain, label, draws)
    first, second = draws.sample(domain.things, 2)
    whole = draws.choice(domain.whole)
    end = draws.choice(domain.good_ends if label else domain.bad_ends)
    return draws.choice(
        (
            f"the {first} was {lost}, but {whole} was {kept}",
            f"although the {first} was {lost}, {whole} was {kept}",
            f"{whole} was {kept} even if the {first} was {lost}",
            f"the {first} was {lost} and the {second} {kept}, still {end}",
            f"despite the {lost} {first}, {end}",
        )
    )


def _ended(domain: Domain, label: int, draws: random.Random) -> str:
    end = draws.choice(domain.good_ends if label else domain.bad_ends)
    return draws.choice(
        (
            f"we tried the {draws.choice(domain.things)} and {end}",
            f"{end}, and not only for the {draws.choice(domain.things)}",
            f"about {draws.choice(domain.whole)}: {end}",
        )
    )
