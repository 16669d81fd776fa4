"""``middleman data``: files up, results down."""

from __future__ import annotations

from pathlib import Path

import click

from middleman.cli.context import open_client, travelling
from trainshed_client.cli.context import echo_json, json_option
from trainshed_client.cli.safe_text import plain


@click.group()
def data() -> None:
    """Send files, fetch results."""


@data.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--job", "-j", help="The job it is for.")
@json_option
def upload(file: Path, job: str | None, as_json: bool) -> None:
    """Send FILE, or a folder as a zip, and print the path that names it for jobs."""
    with open_client() as client, travelling(file.name, quiet=as_json) as watch:
        path = client.upload_file(file, job, on_progress=watch)
    echo_json({"blob_path": path}) if as_json else click.echo(plain(path))


@data.command("download-url")
@click.argument("job_id")
@click.option("--path", "-p", help="A file or folder of the job; everything, as a zip, if absent.")
@json_option
def download_url(job_id: str, path: str | None, as_json: bool) -> None:
    """Print an address that gives a job's files to whoever has it, for a while."""
    with open_client() as client:
        found = client.get_download_url(job_id, path)
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    click.echo(plain(found.download_url))
    click.echo(f"{render.size(found.size_bytes)}, until {render.when(found.expires_at)}", err=True)


@data.command()
@click.argument("job_id")
@click.argument("path", required=False)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), default=".", help="A folder, or a file name."
)
@json_option
def download(job_id: str, path: str | None, output: Path, as_json: bool) -> None:
    """Save the file PATH of a job, checked against its digest; a folder or everything is a zip."""
    with open_client() as client, travelling(path or job_id, quiet=as_json) as watch:
        place = client.download(job_id, path, output, on_progress=watch)
    if as_json:
        echo_json({"path": str(place), "size_bytes": place.stat().st_size})
    else:
        click.echo(plain(place))
