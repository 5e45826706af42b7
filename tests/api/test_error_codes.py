"""Every error code in the source is explained in docs/errors.md, and every code explained there exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from core.clip.checks import CHECKS

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"[a-z]+(_[a-z]+)+|unauthorized|cancelled")
NOT_RAISED_AS_AN_ERROR = {"method_not_allowed"}
"""Named in a table of the API instead."""


def codes_in_source() -> set[str]:
    found = NOT_RAISED_AS_AN_ERROR | codes_raised_from_a_table()
    for room in ("core", "api", "cli", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                found |= code_of(node)
    return found


def codes_raised_from_a_table() -> set[str]:
    """What makes a clip unusable stands beside the limits it is measured by."""
    return {check.refusal.code for check in CHECKS if check.refusal is not None}


def code_of(node: ast.AST) -> set[str]:
    """The first argument of `SomethingError(...)`, or of `super().__init__(...)` in such a class."""
    if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
        return set()
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    value = node.args[0].value
    raised = name.endswith("Error") or name == "__init__"
    return {value} if raised and isinstance(value, str) and CODE.fullmatch(value) else set()


def codes_in_docs() -> set[str]:
    rows = [line for line in (ROOT / "docs" / "errors.md").read_text().splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([a-z_]+)`", row.split("|")[1])}


def test_docs_and_source_name_the_same_codes() -> None:
    source, docs = codes_in_source(), codes_in_docs()
    assert len(source) > 50
    assert source - docs == set(), "explain these in docs/errors.md"
    assert docs - source == set(), "nothing raises these any more"
