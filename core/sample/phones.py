"""English sounds as numbers, and sentences as timed phone tracks. Knows neither signals nor pictures.

Formants follow Peterson and Barney's averages for women; durations follow Klatt's inherent durations, shortened in
unstressed syllables and lengthened before a pause. Articulation targets are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAUSE = "_"


@dataclass(frozen=True)
class Phone:
    """How a sound is made and how it looks. Amplitudes are 0..1."""

    formants: tuple[float, float, float]
    """F1 to F3 in Hz of a woman's voice; stops and fricatives give the locus their neighbours bend towards."""
    duration: float
    """Seconds when stressed."""
    voice: float
    """Amplitude of the glottal source."""
    jaw: float
    """How far the jaw drops, in millimetres."""
    wide: float
    """-1 rounded .. 1 spread."""
    breath: float = 0.0
    """Amplitude of aspiration."""
    noise: float = 0.0
    """Amplitude of frication."""
    band: tuple[float, float] = (3000.0, 6000.0)
    """Where the frication lies, Hz."""
    nasal: float = 0.0
    kind: str = "vowel"
    """`vowel`, `glide`, `nasal`, `fricative`, `stop` (closure, then burst) or `pause`."""
    glide_to: str = ""
    """The vowel a diphthong ends on."""
    part: float = 1.0
    """How far the lips part with the jaw: 0 for p, b, m; 0.25 for f and v (lip against teeth)."""
    weight: float = 1.0
    """How strongly this sound's articulation asserts itself over its neighbours'."""


def _vowel(f1: float, f2: float, f3: float, duration: float, jaw: float, wide: float, glide_to: str = "") -> Phone:
    return Phone((f1, f2, f3), duration, 1.0, jaw, wide, glide_to=glide_to)


def _stop(locus: tuple[float, float, float], voiced: bool, band: tuple[float, float], jaw: float, part: float) -> Phone:
    return Phone(
        locus, 0.085 if voiced else 0.1, 0.25 if voiced else 0.0, jaw, 0.0, 0.0 if voiced else 0.5,
        0.5 if voiced else 0.9, band, kind="stop", part=part, weight=1.6,
    )  # fmt: skip


def _fricative(
    locus: tuple[float, float, float], noise: float, band: tuple[float, float], jaw: float, wide: float,
    voice: float = 0.0, part: float = 1.0,
) -> Phone:  # fmt: skip
    return Phone(
        locus, 0.075 if voice else 0.105, voice, jaw, wide, 0.0, noise, band, kind="fricative", part=part, weight=1.3
    )


PHONES: dict[str, Phone] = {
    "IY": _vowel(310, 2790, 3310, 0.15, 3.0, 0.9),
    "IH": _vowel(430, 2480, 3070, 0.115, 4.2, 0.5),
    "EH": _vowel(610, 2330, 2990, 0.13, 6.5, 0.35),
    "AE": _vowel(860, 2050, 2850, 0.175, 9.5, 0.45),
    "AA": _vowel(850, 1220, 2810, 0.18, 11.5, 0.0),
    "AO": _vowel(590, 920, 2710, 0.18, 8.5, -0.6),
    "UH": _vowel(470, 1160, 2680, 0.12, 4.2, -0.6),
    "UW": _vowel(370, 950, 2670, 0.155, 2.8, -1.0),
    "AH": _vowel(700, 1450, 2780, 0.12, 6.5, 0.05),
    "ER": _vowel(500, 1640, 1960, 0.155, 4.2, -0.4),
    "EY": _vowel(560, 2400, 3000, 0.17, 5.5, 0.5, "IY"),
    "AY": _vowel(850, 1400, 2800, 0.2, 11.0, 0.1, "IH"),
    "OW": _vowel(580, 1000, 2700, 0.185, 7.0, -0.6, "UW"),
    "AW": _vowel(860, 1450, 2800, 0.21, 11.0, 0.0, "UH"),
    "OY": _vowel(570, 950, 2700, 0.21, 7.5, -0.6, "IH"),
    "W": Phone((310, 700, 2400), 0.075, 0.75, 2.2, -1.0, kind="glide", weight=1.3),
    "Y": Phone((290, 2700, 3300), 0.07, 0.75, 2.8, 0.6, kind="glide"),
    "R": Phone((370, 1250, 1700), 0.075, 0.75, 3.2, -0.5, kind="glide"),
    "L": Phone((390, 1250, 2950), 0.075, 0.7, 4.0, 0.1, kind="glide"),
    "M": Phone((290, 1000, 2500), 0.085, 0.55, 1.2, 0.0, nasal=1.0, kind="nasal", part=0.0, weight=1.6),
    "N": Phone((290, 1650, 2750), 0.075, 0.55, 2.8, 0.1, nasal=1.0, kind="nasal"),
    "NG": Phone((290, 2150, 2750), 0.085, 0.5, 3.6, 0.1, nasal=1.0, kind="nasal"),
    "P": _stop((350, 900, 2500), False, (400, 1800), 1.2, 0.0),
    "B": _stop((300, 900, 2500), True, (400, 1800), 1.2, 0.0),
    "T": _stop((350, 1900, 3000), False, (3500, 7500), 2.2, 1.0),
    "D": _stop((300, 1900, 3000), True, (3200, 7000), 2.4, 1.0),
    "K": _stop((350, 2000, 2800), False, (1500, 3500), 3.6, 1.0),
    "G": _stop((300, 2000, 2800), True, (1500, 3300), 3.6, 1.0),
    "CH": Phone((350, 1900, 2900), 0.12, 0.0, 1.8, -0.5, 0.2, 1.0, (2300, 5500), kind="stop", weight=1.5),
    "JH": Phone((320, 1900, 2900), 0.1, 0.2, 1.8, -0.5, 0.0, 0.7, (2300, 5500), kind="stop", weight=1.5),
    "F": _fricative((380, 1150, 2500), 0.3, (1500, 8000), 1.8, 0.1, part=0.3),
    "V": _fricative((330, 1150, 2500), 0.14, (1500, 8000), 1.8, 0.1, voice=0.5, part=0.3),
    "TH": _fricative((400, 1500, 2700), 0.22, (2500, 8500), 2.8, 0.1),
    "DH": _fricative((330, 1500, 2700), 0.08, (2500, 8500), 2.8, 0.1, voice=0.6),
    "S": _fricative((400, 1800, 2900), 0.8, (4800, 9000), 1.7, 0.5),
    "Z": _fricative((320, 1800, 2900), 0.4, (4800, 9000), 1.7, 0.5, voice=0.45),
    "SH": _fricative((400, 1900, 2700), 0.9, (2400, 6000), 2.0, -0.6),
    "HH": Phone((500, 1500, 2600), 0.065, 0.0, 4.5, 0.0, breath=0.7, kind="glide", weight=0.4),
    PAUSE: Phone((500, 1500, 2600), 0.4, 0.0, 0.4, 0.0, kind="pause", part=0.0, weight=1.2),
}

# One string a sentence; `1` marks stress, `_` a pause within it, `|` the end (a longer pause).
TALK = (
    "G UH1 D M AO1 R N IH NG _ AE N D W EH1 L K AH M |",
    "M AY1 N EY1 M IH Z IY1 V _ AE N D DH IH S P IH1 K CH ER W AA Z M EY1 D B AY AH M AH SH IY1 N |",
    "P IY1 P AH L AO1 F AH N AE1 S K M IY _ HH AW1 IH T F IY1 L Z T UW F L OW1 T AH B AH1 V DH AH S IY1 |",
    "Y UW OW1 P AH N Y AO R AY1 Z _ AE N D DH AH HH OW1 L B L UW1 W ER1 L D M UW1 V Z B IH L OW1 |",
    "W IY AA R G OW1 IH NG T UW S P IY1 K AH B AW1 T M UW1 N Z _ AE N D F AA1 R AH W EY1 P L AE1 N AH T S |",
    "M EY1 B IY W AH1 N D EY1 _ Y UW W IH L HH AE1 V AH CH AE1 N S T UW S IY1 IH T T UW1 |",
    "TH AE1 NG K Y UW F AO R Y AO R T AY1 M _ B AY1 B AY1 |",
)
SPEECH_A = (
    "N OW1 W AH N EH1 V ER S EH1 D DH IY1 Z W ER1 D Z |",
    "EH1 V R IY S AW1 N D Y UW HH IY1 R _ K EY1 M F R AH M AH S M AO1 L B UH1 K AH V R UW1 L Z |",
)
SPEECH_B = ("P L IY1 Z B R IH1 NG F AY1 V M AO1 R AE1 P AH L Z HH OW1 M _ B IH F AO1 R DH AH SH OW1 |",)


@dataclass(frozen=True)
class TimedPhone:
    """A sound and when it is made."""

    name: str
    start: float
    """Seconds."""
    end: float
    stressed: bool

    @property
    def phone(self) -> Phone:
        """Its entry in the inventory."""
        return PHONES[self.name]


def _sentence(text: str, rate: float, rng: np.random.Generator) -> list[tuple[str, float, bool]]:
    """(name, duration, stressed) of each sound."""
    names = text.split()
    spoken = []
    for place, word in enumerate(names):
        name, stressed = word.rstrip("1"), word.endswith("1")
        if name == "|":
            spoken.append((PAUSE, float(rng.uniform(0.5, 0.75)), False))
            continue
        if name == PAUSE:
            spoken.append((PAUSE, float(rng.uniform(0.22, 0.32)), False))
            continue
        phone = PHONES[name]
        duration = phone.duration * float(rng.uniform(0.92, 1.08))
        if phone.kind == "vowel" and not stressed:
            duration *= 0.66
        following = names[place + 1 : place + 3]
        if any(item in ("|", PAUSE) for item in following) and phone.kind in ("vowel", "nasal", "fricative", "glide"):
            duration *= 1.35
        spoken.append((name, duration / rate, stressed))
    return spoken


def _cut(spoken: list[tuple[str, float, bool]], seconds: float) -> list[tuple[str, float, bool]]:
    """The beginning of a sentence that fits: up to a pause within it where one lies in the last third."""
    ends = np.cumsum([duration for _, duration, _ in spoken])
    fits = int(np.searchsorted(ends, seconds))
    pauses = [place for place in range(fits) if spoken[place][0] == PAUSE and ends[place] > 0.66 * seconds]
    return spoken[: pauses[-1] if pauses else fits]


def speak(sentences: tuple[str, ...], seconds: float | None, lead: float, rate: float, seed: int) -> list[TimedPhone]:
    """Time sentences into a phone track.

    Args:
        sentences: repeated from the first when they run out; the last is cut short where it would not fit.
        seconds: total length, of which the last third of a second or more is silent; None: each sentence once.
        lead: silence before the first sound, seconds.
        rate: 1 is natural; above is faster.
        seed: of the small variations of duration.

    Returns:
        Phones without gaps between them, from 0 to the end; pauses are phones too.
    """
    rng = np.random.default_rng(seed)
    track = [TimedPhone(PAUSE, 0.0, lead, False)]
    number = 0
    while seconds is not None or number < len(sentences):
        spoken = _sentence(sentences[number % len(sentences)], rate, rng)
        length = sum(duration for _, duration, _ in spoken)
        now = track[-1].end
        if seconds is not None and now + length - 0.3 > seconds:
            spoken = _cut(spoken, seconds - 0.35 - now)
        for name, duration, stressed in spoken:
            track.append(TimedPhone(name, now, now + duration, stressed))
            now += duration
        number += 1
        if seconds is not None and now > seconds - 1.0:
            break
    if seconds is not None:
        last = track[-1]
        if last.name == PAUSE:
            track.pop()
        track.append(TimedPhone(PAUSE, track[-1].end, max(seconds, track[-1].end + 0.1), False))
    return track
