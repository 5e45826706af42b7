"""An upload as a stage's input."""

from __future__ import annotations

from pathlib import PurePosixPath

from api.problems import ApiError
from core.jobs.tables import Upload

_SAFE_SUFFIX_LENGTH = 6


def input_file(upload: Upload, name: str) -> dict[str, str]:
    """The object's key, and a file name that keeps only a harmless suffix.

    Raises:
        ApiError: `upload_removed`, `upload_expired`.
    """
    if upload.removed_at is not None:
        raise ApiError("upload_removed", "The bytes of this upload were deleted.", "Send the file again.")
    if upload.state == "expired":
        raise ApiError("upload_expired", "The bytes of this upload did not come in time.", "Announce the file again.")
    suffix = PurePosixPath(upload.filename).suffix.lower()
    harmless = len(suffix) <= _SAFE_SUFFIX_LENGTH and suffix[1:].isalnum() and suffix.isascii()
    return {"key": upload.object_key, "name": name + (suffix if harmless else ""), "sha256": upload.sha256}
