"""Uploads, artifacts and the blobs they refer to."""

from __future__ import annotations

from trainshed.domain.artifact import Artifact, ArtifactKind
from trainshed.domain.errors import Conflict, NotFound
from trainshed.ports.paging import After
from trainshed.ports.store import Upload
from trainshed.store import sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import (
    artifact_file_rows,
    artifact_from,
    artifact_row,
    micros,
    upload_from,
    upload_row,
)
from trainshed.store.tables import artifact_files, artifacts, uploads

_INSERT_UPLOAD = sql.insert(uploads, tail="ON CONFLICT DO NOTHING")
_SAVE_UPLOAD = sql.update(
    uploads, [c.name for c in uploads.columns if c.name != "id"], "WHERE id = ?"
)
_GET_UPLOAD = sql.select(uploads, "WHERE id = ?")
_INSERT_ARTIFACT = sql.insert(artifacts, tail="ON CONFLICT DO NOTHING")
_INSERT_FILE = sql.insert(artifact_files)
_GET_ARTIFACT = sql.select(artifacts, "WHERE id = ?")
_FILES_OF = sql.select(artifact_files, "WHERE artifact_id = ? ORDER BY position")

#: Distinct blobs: the same content in two artifacts is stored once (D14). Points weigh 24 bytes.
_BLOB_BYTES = """
SELECT SUM(size_bytes) FROM (
    SELECT md5, size_bytes FROM artifact_files WHERE account_id = ?
    UNION
    SELECT md5, blob_bytes FROM uploads WHERE account_id = ? AND md5 IS NOT NULL
    UNION
    SELECT md5, size_bytes FROM sealed_parts WHERE account_id = ?
) AS distinct_blobs
"""
_STREAM_BYTES = """
SELECT SUM(CASE WHEN stream = 'metrics' THEN size * 24 ELSE size - sealed_to END)
FROM stream_heads WHERE account_id = ?
"""
_REFS = """
SELECT md5 FROM artifact_files WHERE account_id = ?
UNION
SELECT md5 FROM uploads WHERE account_id = ? AND md5 IS NOT NULL
UNION
SELECT md5 FROM sealed_parts WHERE account_id = ?
UNION
SELECT digest FROM artifacts WHERE account_id = ?
"""


class SqlFiles:
    """``ports.store.Files`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def insert_upload(self, upload: Upload) -> None:
        """Raises Conflict if the id is taken."""
        if not self._link.run(_INSERT_UPLOAD, upload_row(upload)):
            raise Conflict("There is already such an upload.")

    def get_upload(self, upload_id: str, account_id: str | None = None) -> Upload:
        """Return it, locked if this is a write."""
        row = self._link.one(_GET_UPLOAD + self._link.for_update, (upload_id,))
        if row is None or (account_id is not None and row[1] != account_id):
            raise NotFound("There is no upload with that id.")
        return upload_from(row)

    def save_upload(self, upload: Upload) -> None:
        """Write every field."""
        row = upload_row(upload)
        if not self._link.run(_SAVE_UPLOAD, (*row[1:], row[0])):
            raise NotFound("There is no upload with that id.")

    def delete_upload(self, upload_id: str) -> None:
        """Forget it; its blob is swept later."""
        self._link.run("DELETE FROM uploads WHERE id = ?", (upload_id,))

    def uploads(self, account_id: str, after: After | None, limit: int) -> list[Upload]:
        """Newest first."""
        values: list[object] = [account_id]
        beyond = ""
        if after is not None:
            beyond = "AND (created_at, id) < (?, ?)"
            values += [micros(after.created_at), after.id]
        query = sql.select(
            uploads, "WHERE account_id = ?", beyond, "ORDER BY created_at DESC, id DESC LIMIT ?"
        )
        return [upload_from(r) for r in self._link.all(query, (*values, limit))]

    def find_uploads(self, account_id: str, path: str) -> list[Upload]:
        """Completed ones, newest first."""
        query = sql.select(
            uploads, "WHERE account_id = ? AND path = ? AND completed_at IS NOT NULL",
            "ORDER BY created_at DESC, id DESC",
        )  # fmt: skip
        return [upload_from(r) for r in self._link.all(query, (account_id, path))]

    def uploads_below(self, account_id: str, folder: str, limit: int) -> list[Upload]:
        """Completed ones below a folder, newest first."""
        begin = folder + "/"
        query = sql.select(
            uploads, "WHERE account_id = ? AND substr(path, 1, ?) = ?",
            "AND completed_at IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT ?",
        )  # fmt: skip
        return [
            upload_from(r) for r in self._link.all(query, (account_id, len(begin), begin, limit))
        ]

    def insert_artifact(self, artifact: Artifact) -> None:
        """Add it with all its files; raises Conflict if the id is taken."""
        if not self._link.run(_INSERT_ARTIFACT, artifact_row(artifact)):
            raise Conflict("There is already such an artifact.")
        self._link.many(_INSERT_FILE, artifact_file_rows(artifact))

    def get_artifact(self, artifact_id: str, account_id: str | None = None) -> Artifact:
        """Return it with its files."""
        row = self._link.one(_GET_ARTIFACT, (artifact_id,))
        if row is None or (account_id is not None and row[1] != account_id):
            raise NotFound("There is no artifact with that id.")
        return self._whole(row)

    def artifacts(self, job_id: str, kind: ArtifactKind | None = None) -> list[Artifact]:
        """Oldest first."""
        only, values = ("", (job_id,)) if kind is None else ("AND kind = ?", (job_id, kind.value))
        query = sql.select(artifacts, "WHERE job_id = ?", only, "ORDER BY created_at, id")
        return [self._whole(r) for r in self._link.all(query, values)]

    def save_artifact(self, artifact: Artifact) -> None:
        """Write ``pinned``."""
        values = (int(artifact.pinned), artifact.id)
        if not self._link.run("UPDATE artifacts SET pinned = ? WHERE id = ?", values):
            raise NotFound("There is no artifact with that id.")

    def delete_artifact(self, artifact_id: str) -> None:
        """Forget it and its files; blobs are swept later."""
        self._link.run("DELETE FROM volumes WHERE artifact_id = ?", (artifact_id,))
        self._link.run("DELETE FROM artifact_files WHERE artifact_id = ?", (artifact_id,))
        self._link.run("DELETE FROM artifacts WHERE id = ?", (artifact_id,))

    def used_bytes(self, account_id: str) -> int:
        """Distinct blobs and unsealed streams."""
        blobs = self._link.scalar(_BLOB_BYTES, (account_id,) * 3) or 0
        return int(blobs) + int(self._link.scalar(_STREAM_BYTES, (account_id,)) or 0)

    def blob_refs(self, account_id: str) -> set[str]:
        """Every md5 referred to; of an artifact also its ``<md5>.dir`` object."""
        return {r[0] for r in self._link.all(_REFS, (account_id,) * 4)}

    def _whole(self, row: Row) -> Artifact:
        return artifact_from(row, self._link.all(_FILES_OF, (row[0],)))
