"""Run the benches: ``python -m bench [--quick] [--only jobs,ingest,hooks,reads,...]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.server import running

from bench import boards, containers, hooks, ingest, jobs, reads, rows, schedules


def main() -> int:
    """Print every row; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benches out")
    parser.add_argument("--only", default="jobs,ingest,hooks,reads,schedules,containers,boards")
    args = parser.parse_args()
    scale = 1 if args.quick else 4
    venv = Path(sys.executable).parent.parent.with_name(".venv-bench")
    wanted = args.only.split(",")
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=rows.PLACE) as folder,
        running(
            Path(folder) / "data",
            TRAINSHED_ADMIN_CREDITS="1000000000",
            TRAINSHED_RATE_LIMIT_PER_MINUTE="10000000",
            TRAINSHED_OUTBOUND_ALLOW='["127.0.0.0/8"]',
        ) as server,
    ):
        if "jobs" in wanted:
            found += jobs.rows(server, 100 * scale, venv)
        if "ingest" in wanted:
            found += ingest.rows(server, scale, venv)
        if "hooks" in wanted:
            found += hooks.rows(server, scale)
    if "reads" in wanted:
        with (
            tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=rows.PLACE) as folder,
            running(Path(folder) / "data", TRAINSHED_RATE_LIMIT_PER_MINUTE="10000000") as server,
        ):
            found += reads.rows(server, scale)
    if "schedules" in wanted:
        with (
            tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=rows.PLACE) as folder,
            running(
                Path(folder) / "data",
                TRAINSHED_ADMIN_CREDITS="1000000000",
                TRAINSHED_RATE_LIMIT_PER_MINUTE="10000000",
            ) as server,
        ):
            found += schedules.rows(server)
    if "boards" in wanted:
        with (
            tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=rows.PLACE) as folder,
            running(
                Path(folder) / "data",
                TRAINSHED_BOARD_PLANS='[{"name": "free", "runs": 1000000}]',
                TRAINSHED_RATE_LIMIT_PER_MINUTE="10000000",
            ) as server,
        ):
            found += boards.rows(server, scale)
    if "containers" in wanted:
        found += containers.rows(20 * scale)
    for row in found:
        print(row.line())
    return 0 if all(row.met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
