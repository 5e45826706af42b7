"""One claimed stage on this machine: bring here what it needs, run it, and carry away what it made.

What an earlier stage made is looked for in the work folder, then in the store; where it is in neither, that stage is
run again: slower, not wrong. It knows no leases: whoever calls it ends the stage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select

from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind
from core.jobs.lease import Claim
from core.jobs.results import find_result, forget_result, input_hash
from core.jobs.tables import StageRun
from core.progress import StageContext
from core.settings import Settings
from core.storage import ObjectMissingError, ObjectStore
from workers.fingerprint import code_version
from workers.parcel import pack, unpack
from workers.pipeline import IGNORED, NEEDS, Pipeline, Task

FINAL_NAMES = {
    JobKind.ADAPT: ("identities", "avatar.likeness"),
    JobKind.RENDER: ("renders", "video.mp4"),
    JobKind.PRETRAIN: ("umfs", "field.safetensors"),
}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Done:
    """A stage that has done its work, but has not said so yet."""

    output: dict[str, Any]
    """See `StageRun.output`; without a `key` where nothing was stored."""
    name: str
    """Hash of what went into it."""
    reused: bool
    made_here: tuple[str, ...] = field(default=())
    """Keys of the objects that this attempt stored: removed where it turns out not to be the current one."""

    @property
    def measured(self) -> dict[str, Any]:
        """What the stage said."""
        said: dict[str, Any] = self.output.get("measured", {})
        return said


class StageWork:
    """The work of one claim in one folder."""

    def __init__(
        self, settings: Settings, database: Database, store: ObjectStore, pipeline: Pipeline, claim: Claim, folder: Path
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._pipeline = pipeline
        self._claim = claim
        self._folder = folder
        self._stages = tuple(kind.name for kind in STAGES[claim.kind])

    @property
    def is_last(self) -> bool:
        """Whether the job's result is what this stage makes."""
        return self._claim.stage == self._stages[-1]

    def perform(self, context: StageContext) -> Done:
        """Run the stage, unless its result, or one that comes after it, is there already."""
        names = [self._name(stage) for stage in self._stages[self._claim.position :]]
        found = self._find(names)
        if found is not None:
            return found
        task = self.task()
        for needed in NEEDS[self._claim.stage]:
            self._provide(task, needed, context)
        made = self._pipeline.run(task, context)
        said = {"measured": made.measured, "fan_out": made.fan_out}
        if self.is_last:
            return self._publishable(task.output, names[0], said, reused=False)
        self._mark(task, made.fan_out)
        parcel = self._folder / f"{self._claim.stage}.tar"
        pack(task.workdir, self._pipeline.files(task), parcel, all_of_them=True)
        stored = self._store.put(self.result_key(self._claim.attempt), parcel)
        parcel.unlink()
        output = {"key": stored.key, "size": stored.size, "sha256": stored.sha256, **said}
        return Done(output, names[0], reused=False, made_here=(stored.key,))

    def task(self) -> Task:
        """The stage with its inputs, which are fetched where they are not here."""
        claim = self._claim
        return Task(
            kind=claim.kind,
            stage=claim.stage,
            segment=claim.segment,
            inputs=self._inputs(),
            options=self._options(),
            workdir=self._folder / "stages",
            output=self._folder / FINAL_NAMES[claim.kind][1],
            segment_seconds=self._settings.segment_seconds,
        )

    def result_key(self, attempt: int) -> str:
        """Where this stage's result lies in the store if `attempt` makes it."""
        claim = self._claim
        if self.is_last:
            room, name = FINAL_NAMES[claim.kind]
            return f"{claim.tenant_id}/{room}/{claim.subject_id}/a{attempt}/{name}"
        return f"{claim.tenant_id}/jobs/{claim.job_id}/{claim.stage}.{claim.segment}/a{attempt}/files.tar"

    def drop_earlier_attempts(self) -> None:
        """Remove what attempts before this one may have stored before they died."""
        for attempt in range(1, self._claim.attempt):
            self._store.delete(self.result_key(attempt))

    def _find(self, names: list[str]) -> Done | None:
        """What was made of the same inputs before, by this stage or by a later one, which makes it unnecessary."""
        with self._database.read() as session:
            result = find_result(session, self._claim.tenant_id, names)
        if result is None:
            return None
        own = result.input_hash == names[0]
        key = str(result.output["key"])
        try:
            if self.is_last:
                copy = self._folder / FINAL_NAMES[self._claim.kind][1]
                self._store.fetch(key, copy)
                said: dict[str, Any] = {
                    name: result.output[name] for name in ("measured", "fan_out") if name in result.output
                }
                return self._publishable(copy, names[0], said, reused=True)
            self._store.stat(key)
        except ObjectMissingError:
            with self._database.write() as session:
                forget_result(session, self._claim.tenant_id, result.input_hash)
            return None
        _log.info("stage skipped: the same was made before", by=result.job_id)
        return Done(result.output if own else self._said_in(result.job_id), names[0], reused=True)

    def _said_in(self, job_id: str) -> dict[str, Any]:
        """What this stage said in the job whose later result is used: it is as true of this job's input."""
        same = select(StageRun.output).where(
            StageRun.job_id == job_id, StageRun.stage == self._claim.stage, StageRun.segment == self._claim.segment
        )
        with self._database.read() as session:
            output = session.scalar(same)
        return {"measured": output["measured"]} if output and output.get("measured") else {}

    def _publishable(self, path: Path, name: str, said: Mapping[str, Any], *, reused: bool) -> Done:
        """Store the job's result under a key of its own: what is deleted with another identity can't take it along."""
        stored = self._store.put(self.result_key(self._claim.attempt), path)
        output = {"key": stored.key, "size": stored.size, "sha256": stored.sha256, **said}
        return Done(output, name, reused, made_here=(stored.key,))

    def _provide(self, task: Task, stage: str, context: StageContext) -> int:
        """See to it that the files of an earlier stage are in the work folder. Returns the segments of the next one."""
        segments = 1
        if stage == "synthesise":
            segments = self._provide(task, "speech", context)
        fan_out = 1
        for segment in range(segments):
            fan_out = self._provide_segment(task.at(stage, segment), context)
        return fan_out

    def _provide_segment(self, earlier: Task, context: StageContext) -> int:
        marker = _marker(earlier)
        if marker.exists():
            return int(marker.read_text())
        output = self._claim.outputs.get((earlier.stage, earlier.segment), {})
        if "key" in output:
            parcel = self._folder / f"{earlier.stage}.{earlier.segment}.tar"
            try:
                self._store.fetch(output["key"], parcel)
                unpack(parcel, earlier.workdir, self._pipeline.files(earlier))
                return self._mark(earlier, int(output.get("fan_out", 1)))
            except ObjectMissingError:
                _log.warning("result of an earlier stage is gone: it is made again", earlier=earlier.stage)
            finally:
                parcel.unlink(missing_ok=True)
        for needed in NEEDS[earlier.stage]:
            self._provide(earlier, needed, context)
        made = self._pipeline.run(earlier, StageContext(is_cancelled=context.is_cancelled))
        return self._mark(earlier, made.fan_out)

    def _mark(self, task: Task, fan_out: int) -> int:
        task.workdir.mkdir(parents=True, exist_ok=True)
        _marker(task).write_text(str(fan_out))
        return fan_out

    def _inputs(self) -> dict[str, Path]:
        found = {}
        for name, described in self._claim.inputs.items():
            if name == "corpus":  # the files' names tell the people apart
                for one in described:
                    self._fetch(one, self._folder / "corpus" / one["name"])
                found["corpus"] = self._folder / "corpus"
            elif isinstance(described, dict) and "key" in described:
                found[name] = self._fetch(described, self._folder / described["name"])
        return found

    def _fetch(self, described: Mapping[str, str], path: Path) -> Path:
        if not path.exists():
            self._store.fetch(described["key"], path)
        return path

    def _name(self, stage: str) -> str:
        """Hash of everything that decides what `stage` makes of this job."""
        claim = self._claim
        segment = claim.segment if stage == claim.stage else 0
        options = {key: value for key, value in self._options().items() if key not in IGNORED.get(stage, ())}
        if claim.kind is JobKind.RENDER:
            options["segment_seconds"] = self._settings.segment_seconds
        return input_hash(code_version(), stage, segment, self._input_hashes(stage), options)

    def _options(self) -> dict[str, Any]:
        """The caller's options; the consent under which an avatar is made goes into its bundle."""
        inputs = self._claim.inputs
        return {**inputs["options"], **({"consent_id": inputs["consent"]} if "consent" in inputs else {})}

    def _input_hashes(self, stage: str) -> dict[str, str]:
        hashes: dict[str, str] = {}
        for name, described in self._claim.inputs.items():
            if name == "corpus":
                hashes |= {f"corpus/{one['name']}": one["sha256"] for one in described}
            elif isinstance(described, dict) and "sha256" in described and name not in IGNORED.get(stage, ()):
                hashes[name] = described["sha256"]
        # A motion field of the operator's is a file of this machine: its name says nothing about what is in it.
        field_file = Path(str(self._claim.inputs["options"].get("umf", "")))
        if "umf" not in IGNORED.get(stage, ()) and field_file.is_file():
            hashes["umf_file"] = hashlib.sha256(field_file.read_bytes()).hexdigest()
        return hashes


def _marker(task: Task) -> Path:
    return task.workdir / f".done-{task.stage}-{task.segment}"
