"""One error tree for the whole product.

Every failure that a user can cause is a `LikenessError` with a stable `code` and a `hint` that says what to do. The
command line prints both and maps them to an exit code; the API renders them as an RFC 9457 problem body. This file
knows neither of the two.
"""

from __future__ import annotations


class LikenessError(Exception):
    """A failure with a stable code.

    Attributes:
        code: snake_case, stable over releases; documented in docs/errors.md.
        message: what happened, one sentence, without paths of the server.
        hint: what the user can do about it, one sentence.
        retryable: whether the same call may succeed later without a change.
    """

    retryable: bool = False

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, object]:
        """The error as JSON: `code`, `message`, `hint`, `retryable`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "retryable": self.retryable}


class InputRefusedError(LikenessError):
    """The user's media or file can't be used as it is (exit code 3; a job ends `rejected`)."""


class UsageError(LikenessError):
    """The call itself is wrong: a path that does not exist, options that contradict (exit code 2)."""


class MissingModelError(LikenessError):
    """A model file is not on this machine and could not be fetched (exit code 1)."""

    retryable = True


class BundleError(LikenessError):
    """A bundle or UMF file is damaged, forged, or of an unknown major version (exit code 3)."""


class CancelledError(LikenessError):
    """The stage saw its cancel flag and stopped after writing a checkpoint."""

    def __init__(self) -> None:
        super().__init__("cancelled", "The job was cancelled.", "Start it again to go on from its last checkpoint.")
