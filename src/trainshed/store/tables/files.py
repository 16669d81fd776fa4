"""Uploads and artifacts: which blobs an account refers to."""

from __future__ import annotations

from sqlalchemy import Index, Table

from trainshed.store.tables.base import metadata, number, text

uploads = Table(
    "uploads",
    metadata,
    text("id", key=True),
    text("account_id", to="accounts.id"),
    text("path"),
    number("size_bytes"),
    number("created_at"),
    text("md5", null=True),
    text("sha256", null=True),
    number("blob_bytes", null=True),
    number("completed_at", null=True),
)
Index("ix_uploads_page", uploads.c.account_id, uploads.c.created_at, uploads.c.id)
Index("ix_uploads_path", uploads.c.account_id, uploads.c.path, uploads.c.created_at)

artifacts = Table(
    "artifacts",
    metadata,
    text("id", key=True),
    text("account_id"),
    text("job_id", to="jobs.id"),
    text("attempt_id"),
    text("kind"),
    text("digest"),
    number("created_at"),
    number("step", null=True),
    number("pinned"),
    number("n_files"),
    number("size_bytes"),
)
Index("ix_artifacts_job", artifacts.c.job_id, artifacts.c.created_at, artifacts.c.id)
Index("ix_artifacts_account", artifacts.c.account_id)

artifact_files = Table(
    "artifact_files",
    metadata,
    text("artifact_id", key=True, to="artifacts.id"),
    number("position", key=True),
    text("account_id"),
    text("path"),
    text("md5"),
    text("sha256"),
    number("size_bytes"),
    number("executable"),
    sqlite_with_rowid=False,
)
Index(
    "ix_artifact_files_blob",
    artifact_files.c.account_id, artifact_files.c.md5, artifact_files.c.size_bytes,
)  # fmt: skip
