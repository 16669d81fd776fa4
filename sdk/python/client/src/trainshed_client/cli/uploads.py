"""``trainshed uploads``: send files, list them, delete them."""

from __future__ import annotations

from pathlib import Path

import click

from trainshed_client.cli.context import (
    confirm,
    echo_json,
    full_id,
    json_option,
    open_client,
    yes_option,
)


@click.group()
def uploads() -> None:
    """Send files for jobs to use, list them, delete them."""


@uploads.command("list")
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True)
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List uploads, newest first."""
    with open_client() as client:
        found = [*client.uploads.list(limit=limit)]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            render.ident(u.id),
            u.path,
            render.size(u.size_bytes),
            render.when(u.created_at),
            (u.sha256 or "")[:12],
        )
        for u in found
    )
    render.show(render.table(("upload", "path", "size", "made", "sha256"), rows))


@uploads.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--path", help="Name on the server; for a folder, put before every name.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent.")
@json_option
def add(source: Path, path: str | None, dry_run: bool, as_json: bool) -> None:
    """Send a file, or a folder by the rules of its .trainshedignore."""
    from trainshed_client.cli import render
    from trainshed_client.cli.safe_text import plain
    from trainshed_client.folder import Folder, FolderFile, scan

    if source.is_dir():
        folder = scan(source)
        prefix = path.rstrip("/") + "/" if path else ""
    else:
        one = FolderFile(path or source.name, source, source.stat().st_size)
        folder, prefix = Folder(source.parent, (one,)), ""
    if not as_json:
        for file in folder.files if dry_run else ():
            click.echo(f"{render.size(file.size_bytes):>12}  {plain(prefix + file.path)}")
        click.echo(f"{render.files(len(folder.files))}, {render.size(folder.size_bytes)}", err=True)
    if dry_run:
        if as_json:
            listed = [{"path": prefix + f.path, "size_bytes": f.size_bytes} for f in folder.files]
            echo_json(listed)
        return
    with open_client() as client:
        sent = client.uploads.upload_folder(folder, prefix=prefix)
    if as_json:
        echo_json(sent)
        return
    for item in sent:
        click.echo(f"{item['ref']}  {plain(item['path'])}")


@uploads.command()
@click.argument("upload", nargs=-1, required=True)
@json_option
@yes_option
def delete(upload: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """Delete uploads. UPLOAD is an id or its start, 8 characters or more."""
    with open_client() as client:
        ids = [
            full_id("upload", one, lambda: (sent.id for sent in client.uploads.list()))
            for one in upload
        ]
        confirm(f"Delete {', '.join(ids)}?", yes)
        for one in ids:
            client.uploads.delete(one)
    echo_json({"deleted": ids}) if as_json else click.echo(f"deleted {', '.join(ids)}")
