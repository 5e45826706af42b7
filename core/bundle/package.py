"""The last stage of an adaptation: avatar and clip -> one bundle. Knows no training."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from core.avatar import Avatar
from core.bundle.avatar_member import avatar_bytes, head_ply
from core.bundle.file import AVATAR, HEAD, write_bundle
from core.bundle.manifest import Manifest, SourceFrames, SpeechFeatures, UmfReference
from core.bundle.portrait import build_portrait
from core.bundle.preview import build_preview
from core.clip.layout import FPS, SPEECH_RATE, Clip
from core.clip.speech import REDUCED_DIMENSION
from core.progress import StageContext
from core.version import project_version

STAGE = "package"


def package_avatar(
    path: Path,
    avatar: Avatar,
    clip: Clip,
    profile: str,
    umf: UmfReference | str,
    context: StageContext,
    *,
    consent_id: str | None = None,
    licence: str = "unstated",
    metrics: Mapping[str, float | None] | None = None,
) -> Manifest:
    """Write the bundle of one adapted avatar.

    Args:
        path: the `.likeness` file; appears whole or not at all.
        avatar: fused.
        clip: the frames it has learned from; their torso and background become the portrait.
        profile: name of the profile it was made with.
        umf: the universal motion field it started from, or `none`.
        context: progress as stage `package`, and cancelling.
        consent_id: of the recorded consent, where there is one.
        licence: what may be done with the avatar.
        metrics: figures to keep in the manifest.

    Returns:
        The manifest as written.
    """
    if isinstance(umf, str) and umf != "none":
        raise ValueError("a universal motion field is named with its hash: UmfReference")
    manifest = Manifest(
        id=str(uuid.uuid4()),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        project_version=project_version(),
        profile=profile,
        size=clip.size,
        fps=FPS,
        focal=clip.camera.fx,
        reference_focal=clip.reference.focal,
        crop=clip.reference.crop,
        lag_frames=clip.reference.lag_frames,
        speech=SpeechFeatures(clip.speech_features, REDUCED_DIMENSION, SPEECH_RATE),
        source_frames=SourceFrames(clip.start_frame, clip.count),
        umf=umf if isinstance(umf, UmfReference) else None,
        consent_id=consent_id,
        licence=licence,
        metrics=dict(metrics or {}),
    )
    with tempfile.TemporaryDirectory(prefix="likeness-package-") as scratch:
        folder = Path(scratch)
        context.report(STAGE, 0.0)
        portrait = build_portrait(clip, folder, context)
        context.report(STAGE, 0.5)
        preview = build_preview(avatar, clip, portrait.backdrops, folder, context)
        context.report(STAGE, 0.9)
        members: dict[str, Path | bytes] = {
            AVATAR: avatar_bytes(avatar),
            **portrait.members,
            **preview,
            HEAD: head_ply(avatar),
        }
        written = write_bundle(path, manifest, members)
    context.report(STAGE, 1.0)
    return written
