"""Law 6: nothing slow happens inside a transaction; the rig that says so works."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.engine import make_engine, principal_with_credits

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.attempt import Ending, Start
from trainshed.domain.job import JobSpec
from trainshed.usecases import attempts, dispatch, housekeeping, reap
from trainshed.usecases.submit import SubmitJob, submit


def test_the_rig_catches_a_blob_call_inside(tmp_path: Path) -> None:
    engine, _, _ = make_engine(tmp_path)
    with pytest.raises(AssertionError, match="inside a transaction"):
        engine.deps.store.write(lambda tx: engine.deps.blobs.free_bytes())
    engine.deps.store.close()


def test_a_whole_life_keeps_to_it(tmp_path: Path) -> None:
    """Submit, place, launch, collect, finish, look, tidy, sweep: all under the rig."""
    engine, clock, _ = make_engine(tmp_path)
    deps = engine.deps
    who = principal_with_credits(engine, 10**9)
    job = submit(deps, SubmitJob(who, "job", JobSpec(command=("true",)), {"A": "b"})).job
    (attempt,) = dispatch.lease(engine)
    dispatch.launch(engine, attempt)
    deps.store.write(attempts.beginning(engine, attempt.id))
    deps.store.write(attempts.started(engine, attempt.id, Start("none")))
    writer = deps.blobs.writer(who.account_id)
    writer.write(b"content")
    ref: BlobRef = writer.commit()
    files = (FileRef("a/b", ref),)
    kind = ArtifactKind.CHECKPOINT
    draft = Artifact(deps.ids.new("artifact"), "", "", "", kind, "", files, clock.utc_now(), 3)
    made = attempts.collect(engine, attempt.id, draft, 1000)
    assert attempts.collect(engine, attempt.id, draft, 1000).id == made.id
    clock.advance(5)
    reap.look(engine)
    reap.flush(engine)
    done = attempts.finish(engine, attempt.id, Ending("exited", 0, runtime_ms=5000))
    assert done.id == job.id
    assert str(done.state) == "SUCCEEDED"
    housekeeping.tidy(engine)
    assert housekeeping.collect_garbage(deps).blobs == 0
    assert deps.store.verify() == []
    deps.store.close()
