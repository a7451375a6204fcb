"""The one rule that holds for every finished import in every test."""

from __future__ import annotations

from typing import Any


def check_accounted(report: dict[str, Any]) -> None:
    """Fail unless a finished import's report says of every record what became of it, and of none twice."""
    counts = {name: report[name] for name in ("records", "imported", "invalid", "rejected", "skipped")}
    assert all(isinstance(count, int) and count >= 0 for count in counts.values()), counts
    assert report["records"] == sum(counts.values()) - report["records"], counts
    assert sum(report["codes"].values()) <= report["invalid"] + report["rejected"], report
    assert len(set(report["job_ids"])) == len(report["job_ids"]), report["job_ids"]
    if not report["invalid"] + report["rejected"]:
        assert not report["codes"], report
        assert report["rejected_uri"] is None, report
