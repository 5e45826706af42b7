"""Challenge phrases: words drawn at random when they are asked for, so that a recording of before can't hold them."""

from __future__ import annotations

import secrets

_TEXT = (
    "acorn amber anchor apple april arrow autumn bakery balloon bamboo banner basket beacon bicycle blanket blossom "
    "border bottle branch bridge bronze bucket butter button cabin camel candle canvas canyon carpet castle cedar "
    "cellar cherry circle clover cobalt coffee comet copper coral corner cotton cradle crystal curtain daisy dancer "
    "desert diamond dolphin dragon eagle early eleven ember engine evening falcon feather fiddle flower forest fossil "
    "fountain friday garden garlic ginger glacier golden granite guitar hammer harbour harvest hazel helmet hollow "
    "honey horizon island ivory jacket january jasmine jungle kettle kitchen ladder lagoon lantern lemon letter "
    "library lily linen lobster magnet mango maple marble market meadow melon mirror monday morning mountain museum "
    "narrow needle nickel night ocean october olive onion orange orchard otter oyster paddle palace paper parrot "
    "pebble pencil pepper piano pillow planet plaza pocket polar pottery prairie pumpkin purple quarter quiet rabbit "
    "raven ribbon river rocket rooster saddle saffron salmon sandal satin scarlet season seven shadow silver sister "
    "sparrow spider spring square stable summer sunday sunset table tailor teapot thistle thunder tiger timber tomato "
    "tower tractor tulip tunnel turtle twelve umbrella valley velvet village violet violin wagon walnut water weather "
    "whisper willow window winter wooden yellow zebra"
)
WORDS = tuple(_TEXT.split())
WORDS_IN_PHRASE = 6
LIFETIME_SECONDS = 30 * 60.0


def new_phrase() -> str:
    """Six different words: more than 10^13 phrases, said in a few seconds."""
    return " ".join(secrets.SystemRandom().sample(WORDS, WORDS_IN_PHRASE))
