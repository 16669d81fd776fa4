"""Schedules in native words, both ways, pure."""

from __future__ import annotations

from trainshed.dialects.native import answers_schedules as answers
from trainshed.dialects.native import schema, schema_schedules, translate
from trainshed.domain.people import Principal
from trainshed.domain.schedule import CatchUp, Fire, Overlap
from trainshed.ports.views import ScheduleView
from trainshed.usecases.schedules import Change, NewSchedule


def to_new(body: schema_schedules.ScheduleBody, principal: Principal) -> NewSchedule:
    """Return the command of a new Schedule; its name is the Jobs' name."""
    template = translate.to_command(body.job, principal)
    return NewSchedule(
        principal, body.name, body.cron, template.spec, body.job.env, body.zone,
        CatchUp(body.catch_up), Overlap(body.overlap), body.paused,
    )  # fmt: skip


def to_change(body: schema_schedules.ScheduleChange, principal: Principal) -> Change:
    """Return what is to be another; a new template replaces the whole old one."""
    job: schema.JobBody | None = body.job
    return Change(
        name=body.name,
        cron=body.cron,
        zone=body.zone,
        spec=None if job is None else translate.to_command(job, principal).spec,
        env=None if job is None else job.env,
        catch_up=None if body.catch_up is None else CatchUp(body.catch_up),
        overlap=None if body.overlap is None else Overlap(body.overlap),
        paused=body.paused,
    )


def to_schedule(view: ScheduleView) -> answers.Schedule:
    """Return a Schedule as its owner sees it."""
    one, spec = view.schedule, view.schedule.spec
    return answers.Schedule(
        id=one.id,
        name=one.name,
        cron=one.cron,
        zone=one.zone,
        catch_up=one.catch_up.value,
        overlap=one.overlap.value,
        dialect=one.dialect,
        phase=view.phase.value,
        next_due=one.next_due,
        paused_at=one.paused_at,
        last_job_id=one.last_job_id,
        last_job_state=None if view.job is None else view.job.state.value,
        last_error=one.last_error,
        created_at=one.created_at,
        updated_at=one.updated_at,
        job=answers.Template(
            workload=spec.workload,
            params=dict(spec.params),
            command=list(spec.command),
            inputs=[
                {"source": i.source, "ref": i.ref, "path": i.path, "unpack": i.unpack}
                for i in spec.inputs
            ],
            env=dict.fromkeys(spec.env_names, translate.MASK),
            environment={
                "kind": spec.environment.kind,
                "value": spec.environment.value,
                "framework": spec.environment.framework,
            },
            resources=translate.to_resources(spec.resources),
            max_runtime_s=spec.max_runtime_s,
            retry=translate.to_retry(spec.retry),
            priority=spec.priority,
            network=spec.network.value,
            labels=dict(spec.labels),
            grace_s=spec.grace_s,
            checkpoint_every_epochs=spec.checkpoint_every_epochs,
            checkpoint_path=spec.checkpoint_path,
            resume_flag=spec.resume_flag,
        ),
    )


def to_fire(one: Fire) -> answers.Fire:
    """Return what came of a due time."""
    return answers.Fire(
        due_at=one.due_at,
        fired_at=one.fired_at,
        late_s=one.late_s,
        kind=one.kind,
        state=one.state.value,
        job_id=one.job_id,
        message=one.message,
    )
