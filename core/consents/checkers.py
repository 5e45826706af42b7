"""Programs that look at the evidence of a consent: plug-ins, none by default. Without a clear answer a person decides.

A plug-in is an entry point of the group `likeness.consent_checkers` that names a `ConsentChecker`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.consents.service import judge
from core.consents.tables import Consent, ConsentState
from core.jobs.database import Database
from core.jobs.tables import Upload
from core.settings import Settings
from core.storage import ObjectStore

GROUP = "likeness.consent_checkers"


@dataclass(frozen=True)
class Finding:
    """What one checker makes of the evidence."""

    checker: str
    verdict: Literal["passed", "failed", "unsure"]
    detail: str
    """One sentence for the person who decides."""


class ConsentChecker(Protocol):
    """Looks at one thing: whether the phrase is said, whether the face is that of the training clip, ..."""

    name: str

    def check(self, evidence: Path, phrase: str, statement: str) -> Finding:
        """Look at the recording. Called in a worker process; the file is gone afterwards."""


def load_checkers() -> list[ConsentChecker]:
    """The checkers that are installed here."""
    return [point.load()() for point in entry_points(group=GROUP)]


def check_once(database: Database, store: ObjectStore, settings: Settings, checkers: Sequence[ConsentChecker]) -> int:
    """Run the checkers over new evidence. Returns how many consents they looked at.

    All passed: verified. One failed: rejected. Otherwise the consent stays pending, with the findings.
    """
    if not checkers:
        return 0
    with database.read() as session:
        waiting = session.execute(
            select(Consent.id, Consent.phrase, Consent.statement, Consent.checks, Upload.object_key)
            .join(Upload, Upload.id == Consent.evidence_upload_id)
            .where(Consent.state == ConsentState.PENDING)
        ).all()
    unseen = [row for row in waiting if not row.checks]
    for consent_id, phrase, statement, _, key in unseen:
        with tempfile.TemporaryDirectory() as folder:
            evidence = Path(folder) / "evidence"
            store.fetch(key, evidence)
            findings = [checker.check(evidence, phrase or "", statement) for checker in checkers]
        with database.write() as session:
            _apply(session, settings, consent_id, findings)
    return len(unseen)


def _apply(session: Session, settings: Settings, consent_id: str, findings: Sequence[Finding]) -> None:
    consent = session.get_one(Consent, consent_id)
    if consent.state != ConsentState.PENDING:
        return
    consent.checks = [asdict(finding) for finding in findings]
    session.flush()
    verdicts = {finding.verdict for finding in findings}
    if verdicts == {"passed"}:
        judge(session, consent, verified=True, by="checkers", reason="", max_attempts=settings.max_attempts)
    elif "failed" in verdicts:
        reason = "; ".join(finding.detail for finding in findings if finding.verdict == "failed")
        judge(session, consent, verified=False, by="checkers", reason=reason, max_attempts=settings.max_attempts)
