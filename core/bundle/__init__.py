"""The avatar bundle: write, read, validate. What a bundle is: docs/bundle.md."""

from core.bundle.file import Bundle, read_bundle, write_bundle
from core.bundle.manifest import Manifest, UmfReference
from core.bundle.package import package_avatar
from core.bundle.portrait import Portrait, open_portrait, reference

__all__ = [
    "Bundle",
    "Manifest",
    "Portrait",
    "UmfReference",
    "open_portrait",
    "package_avatar",
    "read_bundle",
    "reference",
    "write_bundle",
]
