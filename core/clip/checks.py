"""What a clip is judged by: each measurement with its limits, the code for missing one, and what to do then.

A table and the sentences around it; it measures nothing. docs/clip.md says where the limits come from.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something about a clip that its user should know."""

    code: str
    """snake_case, stable over releases; documented in docs/clip.md."""
    message: str
    hint: str
    """What the user can do about it."""

    def as_dict(self) -> dict[str, str]:
        """As JSON."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


@dataclass(frozen=True)
class Limit:
    """From which value on a measurement leads to a warning or a refusal."""

    value: float
    code: str
    message: str
    """A sentence with `{value}` and `{limit}` in the measurement's unit."""


@dataclass(frozen=True)
class Check:
    """One measurement and its limits."""

    name: str
    """In the report's JSON."""
    label: str
    """For people."""
    unit: str
    least: bool
    """Whether the limits are the least, and not the most, that is good."""
    warning: Limit | None = None
    refusal: Limit | None = None
    scale: float = 1.0
    """From the JSON's unit to the one that people read."""
    digits: int = 0

    def missed(self, value: float | None) -> tuple[Finding, bool] | None:
        """The finding for a value that misses a limit, and whether it is a refusal."""
        for limit, refuses in ((self.refusal, True), (self.warning, False)):
            if limit is None or value is None:
                continue
            if value < limit.value if self.least else value > limit.value:
                told = limit.message.format(value=self.said(value), limit=self.said(limit.value))
                return Finding(limit.code, told, HINTS[limit.code]), refuses
        return None

    def bound(self, limit: Limit | None, *, refused: bool = False) -> str:
        """A limit in words: from where on the measurement is good, or `refused`; empty where there is no limit."""
        if limit is None:
            return ""
        sign = ("under" if refused else "from") if self.least else ("over" if refused else "up to")
        return f"{sign} {self.said(limit.value)}"

    def said(self, value: float) -> str:
        """The value in people's unit."""
        return f"{value * self.scale:.{self.digits}f}{' ' if self.unit else ''}{self.unit}"


_NEARER = "Film closer, or use a version of the clip with more pixels."
_LIGHT = "Light the face from the front, with a lamp or a window behind the camera."
_FOCUS = "Clean the lens, tap the face to focus, hold the camera still, and give it light."
_FREE = "Keep hands, microphone and hair away from the face."
_AHEAD = "Look toward the camera; small turns are welcome, profiles are not."
_FURTHER = "Film from further away, so that head and shoulders stay in the picture."
_VOICE = "Use a clip in which this person speaks, without music, close to the microphone."

HINTS: dict[str, str] = {
    "too_dark": _LIGHT,
    "dark": _LIGHT,
    "overexposed": "Lower the exposure, or move the lamp away; what is burnt out has no detail to learn.",
    "too_blurred": _FOCUS,
    "blurred": _FOCUS,
    "face_small": _NEARER,
    "second_face": "Have nobody else in the picture.",
    "glasses_glare": "Tilt the glasses or move the lamp to the side, or take the glasses off.",
    "face_covered": _FREE,
    "hands_before_face": _FREE,
    "hands_in_picture": "Keep the hands down: they are learned as part of the clothes, and stay where they were.",
    "head_turned_away": _AHEAD,
    "head_turned": _AHEAD,
    "touches_border": _FURTHER,
    "face_lost": "Keep the face in the picture, uncovered and lit, for all of the clip.",
    "pose_unsure": "Hold the camera still, without zoom, and give the face light and pixels.",
    "no_speech": _VOICE,
    "quiet": "Come closer to the microphone, or turn its level up.",
    "mouth_still": "Check that the person in the picture is the one who speaks.",
    "lag_unsure": "Check that the person in the picture is the one who speaks, and that no other voice is heard.",
    "out_of_sync": "Nothing to do: it is corrected. A player that shows them apart will show this avatar well.",
    "low_bitrate": "Use the original recording, not a copy from a messenger or a web page.",
    "cut": "Record in one go, or choose another part with --start.",
    "jump_cut": "Record in one go.",
}
"""What to do about each code that this room warns or refuses with."""

_MORE_FACE = "The face is {value} tall; {limit} and more look sharper."

CHECKS = (
    Check("face_px", "face height", "px", True, Limit(144, "face_small", _MORE_FACE)),
    Check(
        "brightness", "brightness of the face", "of 255", True,
        Limit(50, "dark", "The face is dark: {value}; {limit} and more are good."),
        Limit(16, "too_dark", "The face is too dark to learn from: {value}; {limit} is the least."),
    ),
    Check(
        "overexposed", "burnt-out part of the face", "%", False,
        Limit(0.15, "overexposed", "{value} of the face is burnt out to white; {limit} at most is good."),
        scale=100,
    ),
    Check(
        "blur", "blur of the face", "", False,
        Limit(0.58, "blurred", "The face is soft (blur {value}; up to {limit} is good): the head will be no sharper."),
        Limit(0.70, "too_blurred", "The face is too blurred to learn from: blur {value}; {limit} is the most."),
        digits=2,
    ),
    Check(
        "glare", "white about the eyes", "%", False,
        Limit(0.02, "glasses_glare", "{value} of the area about the eyes is white with glare; up to {limit} is good."),
        scale=100, digits=1,
    ),
    Check(
        "frames_covered", "frames with a covered face", "%", False,
        Limit(0.06, "face_covered", "Something comes before the face in {value} of the frames looked at."),
        Limit(0.40, "face_covered", "Something is before the face in {value} of the frames; {limit} is the most."),
        scale=100,
    ),
    Check(
        "frames_hand_before_face", "frames with a hand before the face", "%", False,
        Limit(0.02, "hands_before_face", "A hand comes before the face in {value} of the frames looked at."),
        scale=100,
    ),
    Check(
        "frames_with_hands", "frames with a hand in the picture", "%", False,
        Limit(0.10, "hands_in_picture", "Hands move in {value} of the frames looked at."),
        scale=100,
    ),
    Check(
        "frames_turned", "frames turned over 30 degrees", "%", False,
        Limit(0.05, "head_turned", "The head is turned far in {value} of the frames; they teach little."),
        scale=100,
    ),
    Check(
        "frames_turned_away", "frames turned over 45 degrees", "%", False, None,
        Limit(0.40, "head_turned_away", "The head is turned away in {value} of the frames; {limit} is the most."),
        scale=100,
    ),
    Check(
        "frames_at_border", "frames with the face at the border", "%", False,
        Limit(0.05, "touches_border", "The face touches the picture's border in {value} of the frames."),
        scale=100,
    ),
    Check(
        "pose_rmse_px", "error of the head's pose", "px", False,
        Limit(2.0, "pose_unsure", "Head poses fit the face by {value} only; {limit} at most is good."),
        digits=2,
    ),
    Check(
        "speech_seconds", "speech", "s", True, None,
        Limit(1.0, "no_speech", "There are {value} of a voice in this part; {limit} is the least."),
        digits=1,
    ),
    Check(
        "loudness_dbfs", "loudness", "dBFS", True,
        Limit(-38, "quiet", "The voice is quiet ({value}); lips may follow it less well."),
        digits=1,
    ),
    Check(
        "mouth_opening_sd", "movement of the mouth", "", True,
        Limit(0.01, "mouth_still", "The mouth hardly moves in this part ({value}): is it the speaker's?"),
        digits=3,
    ),
    Check(
        "bits_per_face_pixel", "bits of each face pixel", "", True,
        Limit(0.10, "low_bitrate", "The video is squeezed hard: {value} bits a face pixel; {limit} and more are good."),
        digits=2,
    ),
)  # fmt: skip
"""Every measurement that has a limit, in the order of the report."""
