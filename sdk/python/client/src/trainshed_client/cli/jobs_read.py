"""``trainshed jobs logs|metrics|events|artifacts|receipt|plan``: what a job said and left."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Any, cast

import click

from trainshed_client.cli.context import (
    async_client,
    echo_json,
    job_id,
    json_option,
    open_client,
)
from trainshed_client.cli.lazy import INTERRUPTED
from trainshed_client.cli.run import name_option, resource_options, spec

_STREAMS = ("stdout", "stderr", "system")


@click.command()
@click.argument("job")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job ends.")
@click.option("--stream", type=click.Choice(_STREAMS), help="Only this stream.")
@click.option("--tail", type=click.IntRange(1), help="Only the last lines.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt; the last if absent.")
@json_option
@click.pass_context
def logs(ctx: click.Context, /, job: str, follow: bool, as_json: bool, **given: Any) -> None:
    """Print a job's log: its standard output, then, on standard error, the rest.

    With --json the standard output only, unless --stream or --follow.
    """
    if follow and (given["tail"] or given["attempt"]):
        raise click.UsageError("--follow starts at the beginning: no --tail or --attempt with it.")
    with open_client() as client:
        one = job_id(client, job)
        stream = given.pop("stream")
        if not follow:
            for each in (stream or "stdout",) if as_json or stream else _STREAMS:
                _print_log(client, one, each, as_json, given, aside=stream is None)
            return
    wanted = frozenset({stream} if stream else _STREAMS)
    try:
        ctx.exit(asyncio.run(_follow(one, wanted, as_json)))
    except KeyboardInterrupt:
        ctx.exit(INTERRUPTED)


def _print_log(
    client: Any, one: str, stream: str, as_json: bool, given: dict[str, Any], *, aside: bool
) -> None:
    """Print one stream; ``aside`` puts all but the standard output on standard error."""
    if given["tail"]:
        pieces = iter([client.jobs.logs(one, stream=stream, **given)])
    else:
        pieces = _pieces(client, one, stream, given["attempt"])
    if as_json:
        echo_json([*pieces])
        return
    from trainshed_client.cli.follow import Lines, to_streams

    target = stream if aside else "stdout"
    colour = (sys.stdout if target == "stdout" else sys.stderr).isatty()
    lines = Lines(lambda _, line: to_streams(target, line), colour=colour)
    for piece in pieces:
        lines.take(piece)
    lines.flush()


def _pieces(client: Any, one: str, stream: str, attempt: int | None) -> Any:
    """Yield the log from its start to its present end."""
    offset = 0
    while True:
        piece = client.jobs.logs(one, stream=stream, attempt=attempt, offset=offset)
        yield piece
        if piece.next <= offset or piece.next >= (piece.size or 0):
            return
        offset = piece.next


async def _follow(one: str, wanted: frozenset[str], as_json: bool) -> int:
    from trainshed_client.cli.follow import follow_job

    async with async_client() as client:
        if not as_json:
            done = await follow_job(client, one, wanted=wanted)
            return 0 if done.state == "SUCCEEDED" else 1
        state = ""
        async with aclosing(cast(Any, client.jobs.follow_logs(one))) as feed:
            async for item in feed:
                if getattr(item, "stream", None) in (None, *wanted):
                    echo_json(item, line=True)
                    state = getattr(item, "state", state)
        return 0 if state == "SUCCEEDED" else 1


@click.command()
@click.argument("job")
@click.argument("key", required=False)
@click.option("--max-points", type=click.IntRange(1), help="Thin the curve to so many points.")
@json_option
def metrics(job: str, key: str | None, max_points: int | None, as_json: bool) -> None:
    """Show what a job measured; with KEY, that curve."""
    from trainshed_client.cli import render

    with open_client() as client:
        one = job_id(client, job)
        if key:
            found = client.jobs.series(one, key, max_points=max_points)
            if as_json:
                echo_json(found)
                return
            values = [point.value for point in found.points if point.value is not None]
            render.show(render.cell(render.sparkline(values)))
            rows = ((p.step, _value(p)) for p in found.points)
            render.show(render.table(("step", key), rows))
            return
        known = client.jobs.metrics(one)
    if as_json:
        echo_json(known)
        return
    table = (
        (m.key, m.n, m.latest.step if m.latest else None, _value(m.latest) if m.latest else None)
        for m in known
    )
    render.show(render.table(("metric", "points", "last step", "last value"), table))


def _value(point: Any) -> Any:
    return point.flag if point.value is None else f"{point.value:.6g}"


@click.command()
@click.argument("job")
@click.option("--after-seq", type=int, help="Only what happened after this number.")
@json_option
def events(job: str, after_seq: int | None, as_json: bool) -> None:
    """Show what happened to a job."""
    import json

    with open_client() as client:
        found = [*client.jobs.events(job_id(client, job), after_seq=after_seq)]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = ((e.seq, render.when(e.at), e.kind, json.dumps(e.data) if e.data else "") for e in found)
    render.show(render.table(("seq", "at", "event", "data"), rows))


@click.command()
@click.argument("job")
@json_option
def artifacts(job: str, as_json: bool) -> None:
    """List the files a job left."""
    with open_client() as client:
        found = client.jobs.artifacts(job_id(client, job))
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (_place(one, file.path), render.size(file.size_bytes), one.kind, (file.sha256 or "")[:12])
        for one in found
        for file in one.files
    )
    render.show(render.table(("file", "size", "kind", "sha256"), rows))


def _place(one: Any, path: str) -> str:
    """Return where ``jobs download`` finds a file of an artifact."""
    return f"checkpoints/{one.id}/{path}" if one.kind == "checkpoint" else path


@click.command()
@click.argument("job")
@json_option
def receipt(job: str, as_json: bool) -> None:
    """Show what an ended job took and cost."""
    with open_client() as client:
        found = client.jobs.receipt(job_id(client, job))
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import jobpage, render

    render.show(jobpage.receipt(found))


@click.command(context_settings={"allow_interspersed_args": False})
@name_option
@resource_options
@json_option
@click.argument("command", nargs=-1, required=True)
def plan(as_json: bool, command: tuple[str, ...], **given: Any) -> None:
    """Say what a job would cost and when it would start; makes nothing. Put -- before COMMAND."""
    with open_client() as client:
        found = client.jobs.plan(command, **spec(given))
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    starts = found.starts
    rows = [
        ("pool", f"{found.pool} (fallback)" if found.fallback else found.pool),
        ("credits per hour", render.credits(found.price_ucredits_per_hour)),
        ("credits held", render.credits(found.hold_ucredits)),
        ("starts", starts.detail if starts else None),
    ]
    if starts and starts.fix:
        rows.append(("fix", starts.fix))
    rows += [("note", note) for note in found.notes]
    render.show(render.table(("plan", ""), rows))
    click.echo("nothing was submitted", err=True)


COMMANDS = (logs, metrics, events, artifacts, receipt, plan)
