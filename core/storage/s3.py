"""An object store in a bucket of any S3 server, with plain S3 calls only.

The sha256 goes along end to end: the server checks what it receives against it and keeps it as metadata, and a fetch
checks what arrives. `If-None-Match: *` keeps objects from being overwritten.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from core.settings import Settings
from core.storage.protocol import (
    DamagedObjectError,
    ListedObject,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnavailableError,
    StoredObject,
    Target,
    check_key,
)
from core.storage.s3_calls import Patience, as_ours, open_client

_CHUNK = 1 << 20
_SHA256 = "sha256"
"""The metadata in which the sha256 lies."""


class S3Store:
    """`ObjectStore` over the bucket that the settings name. Each call tries for `patience_s` seconds."""

    def __init__(self, settings: Settings, patience_s: float) -> None:
        self._bucket = settings.s3_bucket
        self._patience_s = patience_s
        self._client = open_client(settings, settings.s3_endpoint)
        # Callers may reach the server under another name than we do; the name is part of what is signed.
        public = settings.s3_public_endpoint
        self._public = open_client(settings, public) if public else self._client

    def put(self, key: str, source: Path) -> StoredObject:
        """See `ObjectStore.put`."""
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            ours = StoredObject(check_key(key), file.tell(), digest.hexdigest())

            def once() -> None:
                file.seek(0)
                self._client.put_object(
                    **self._at(key),
                    Body=file,
                    ContentLength=ours.size,
                    ChecksumSHA256=_base64(ours.sha256),
                    Metadata={_SHA256: ours.sha256},
                    IfNoneMatch="*",
                )

            patience = self._patience()
            try:
                patience.call(key, once)
            except ObjectExistsError:
                # A try whose answer was lost may have stored it.
                if patience.tries == 1 or self.stat(key) != ours:
                    raise
        return ours

    def fetch(self, key: str, destination: Path) -> StoredObject:
        """See `ObjectStore.fetch`. A broken download goes on where it broke."""
        known = self.stat(key)
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as writer:
                digest = self._read(known, writer)
                writer.flush()
                os.fsync(writer.fileno())
            if digest != known.sha256:
                raise DamagedObjectError(known, digest)
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)
        return known

    def stat(self, key: str) -> StoredObject:
        """See `ObjectStore.stat`."""
        head = self._head(key)
        return StoredObject(key, head["ContentLength"], head["Metadata"].get(_SHA256, ""))

    def verify(self, key: str) -> StoredObject:
        """See `ObjectStore.verify`. The server's own checksum where it took one of the whole object, else all bytes."""
        head = self._head(key, ChecksumMode="ENABLED")
        taken = head.get("ChecksumSHA256", "")
        if taken and "-" not in taken:
            return StoredObject(key, head["ContentLength"], base64.b64decode(taken).hex())
        known = StoredObject(key, head["ContentLength"], "")
        return StoredObject(key, known.size, self._read(known, None))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with contextlib.suppress(ObjectMissingError):
            self._patience().call(check_key(key), lambda: self._client.delete_object(**self._at(key)))

    def objects(self, prefix: str) -> Iterator[ListedObject]:
        """See `ObjectStore.objects`."""
        more: dict[str, str] = {}
        while True:
            asked = {"Bucket": self._bucket, "Prefix": prefix, **more}
            page = self._patience().call(prefix, lambda asked=asked: self._client.list_objects_v2(**asked))  # type: ignore[misc]
            now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            for found in page.get("Contents", ()):
                yield ListedObject(found["Key"], found["Size"], (now - found["LastModified"]).total_seconds())
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def put_target(self, key: str, size: int, sha256: str, content_type: str, seconds: float) -> Target:
        """See `ObjectStore.put_target`."""
        signed = {
            "ContentLength": size,
            "ContentType": content_type,
            "ChecksumSHA256": _base64(sha256),
            "Metadata": {_SHA256: sha256},
        }
        url = self._sign("put_object", seconds, **self._at(key), **signed)
        headers = {
            "Content-Type": content_type,
            "x-amz-checksum-sha256": _base64(sha256),
            f"x-amz-meta-{_SHA256}": sha256,
        }
        return Target(url, headers)

    def get_url(self, key: str, filename: str, content_type: str, seconds: float) -> str:
        """See `ObjectStore.get_url`."""
        shown = {
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
            "ResponseContentType": content_type,
        }
        return self._sign("get_object", seconds, **self._at(key), **shown)

    def start_parts(self, key: str, sha256: str, content_type: str) -> str:
        """See `ObjectStore.start_parts`."""
        about = {**self._at(key), "ContentType": content_type, "Metadata": {_SHA256: sha256}}
        return str(self._patience().call(key, lambda: self._client.create_multipart_upload(**about))["UploadId"])

    def part_target(self, key: str, upload: str, number: int, size: int, seconds: float) -> Target:
        """See `ObjectStore.part_target`."""
        part = {**self._at(key), "UploadId": upload, "PartNumber": number, "ContentLength": size}
        return Target(self._sign("upload_part", seconds, **part), {})

    def stored_parts(self, key: str, upload: str) -> dict[int, int]:
        """See `ObjectStore.stored_parts`."""
        return {part["PartNumber"]: part["Size"] for part in self._parts(key, upload)}

    def join_parts(self, key: str, upload: str) -> None:
        """See `ObjectStore.join_parts`."""
        parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in self._parts(key, upload)]
        if not parts:
            raise ObjectMissingError(key)
        asked = {**self._at(key), "UploadId": upload, "MultipartUpload": {"Parts": parts}, "IfNoneMatch": "*"}
        self._patience().call(key, lambda: self._client.complete_multipart_upload(**asked))

    def abort_parts(self, key: str, upload: str) -> None:
        """See `ObjectStore.abort_parts`."""
        asked = {**self._at(key), "UploadId": upload}
        with contextlib.suppress(ObjectMissingError):
            self._patience().call(key, lambda: self._client.abort_multipart_upload(**asked))

    def drop_leftovers(self, older_than_s: float) -> int:
        """See `ObjectStore.drop_leftovers`."""
        dropped = 0
        page = self._patience().call("", lambda: self._client.list_multipart_uploads(Bucket=self._bucket))
        # What one page does not hold, the next sweep finds: the first ones are gone by then.
        for found in page.get("Uploads", ()):
            if datetime.now(UTC) - found["Initiated"] > timedelta(seconds=older_than_s):
                self.abort_parts(found["Key"], found["UploadId"])
                dropped += 1
        return dropped

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": check_key(key)}

    def _patience(self) -> Patience:
        return Patience(self._patience_s)

    def _sign(self, call: str, seconds: float, **params: Any) -> str:
        return str(self._public.generate_presigned_url(call, Params=params, ExpiresIn=int(seconds)))

    def _head(self, key: str, **more: str) -> Any:
        asked = {**self._at(key), **more}
        return self._patience().call(key, lambda: self._client.head_object(**asked))

    def _parts(self, key: str, upload: str) -> list[Any]:
        found: list[Any] = []
        asked: dict[str, Any] = {**self._at(key), "UploadId": upload}
        while True:
            try:
                page = self._patience().call(key, lambda: self._client.list_parts(**asked))
            except ObjectMissingError:
                return []
            found += page.get("Parts", ())
            if not page.get("IsTruncated"):
                return found
            asked["PartNumberMarker"] = page["NextPartNumberMarker"]

    def _read(self, known: StoredObject, writer: BinaryIO | None) -> str:
        """Read the whole object, into `writer` if there is one. Returns its sha256 (hexadecimal)."""
        digest, size, tag = hashlib.sha256(), 0, ""
        patience = self._patience()
        while size < known.size:
            asked = {**self._at(known.key), "Range": f"bytes={size}-", **({"IfMatch": tag} if tag else {})}
            answer = patience.call(known.key, lambda asked=asked: self._client.get_object(**asked))  # type: ignore[misc]
            tag = answer["ETag"]
            try:
                with contextlib.closing(answer["Body"]) as body:
                    while chunk := body.read(_CHUNK):
                        digest.update(chunk)
                        size += len(chunk)
                        if writer is not None:
                            writer.write(chunk)
                        patience.renew()
            except (BotoCoreError, ClientError) as error:
                if not patience.wait():
                    raise as_ours(error, known.key) from error
            if size > known.size:
                raise StorageUnavailableError
        return digest.hexdigest()


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()
