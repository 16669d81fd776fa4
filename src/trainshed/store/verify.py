"""Every invariant in words: read-only, on one snapshot, for tests, soaks and operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trainshed.domain.schedule import phase_of
from trainshed.domain.states import AttemptState, Intent, JobState, derive_job_state
from trainshed.store.link import Link, Row
from trainshed.store.mapping import audit_from, micros, plain
from trainshed.store.repos.records import link_of
from trainshed.store.repos.schedules import PHASE, WITH_JOB, SqlSchedules
from trainshed.store.streams import METRICS
from trainshed.store.tables.jobs import LIVE

#: How many breaks of one rule are named.
SHOWN = 20

#: (sentence with the row's columns in it, a query that is empty when the rule holds)
RULES: tuple[tuple[str, str], ...] = (
    (
        "ledger: transaction {0} sums to {2} {1}, not 0",
        "SELECT txn_id, unit, SUM(amount) FROM entries GROUP BY txn_id, unit"
        " HAVING SUM(amount) <> 0",
    ),
    (
        "ledger: entry {0} of {1} says balance {2}, the sum is {3}",
        "SELECT seq, book, balance_after, total FROM (SELECT seq, book, balance_after,"
        " SUM(amount) OVER (PARTITION BY book, unit ORDER BY seq) AS total FROM entries) AS e"
        " WHERE balance_after <> total",
    ),
    (
        "ledger: entry {0} of wallet {1} has no running balance",
        "SELECT seq, book FROM entries"
        " WHERE balance_after IS NULL AND substr(book, 1, 9) <> 'platform:'",
    ),
    (
        "ledger: {0} has {2} {1} but {3} on hold",
        "SELECT h.account_id, h.unit, COALESCE(b.total, 0), h.held FROM"
        " (SELECT account_id, unit, SUM(amount) AS held FROM holds WHERE state = 'open'"
        "  GROUP BY account_id, unit) AS h LEFT JOIN"
        " (SELECT book, unit, SUM(amount) AS total FROM entries GROUP BY book, unit) AS b"
        " ON b.book = h.account_id AND b.unit = h.unit WHERE COALESCE(b.total, 0) < h.held",
    ),
    (
        "ledger: wallet {0} is below zero: {2} {1}",
        "SELECT book, unit, SUM(amount) FROM entries WHERE substr(book, 1, 9) <> 'platform:'"
        " GROUP BY book, unit HAVING SUM(amount) < 0",
    ),
    (
        "holds: the running sum of {0} is {2} {1}, its open holds are {3}",
        "SELECT m.account_id, m.unit, m.held_after, COALESCE(h.held, 0) FROM hold_moves AS m JOIN"
        " (SELECT account_id, unit, MAX(seq) AS seq FROM hold_moves GROUP BY account_id, unit)"
        " AS newest ON newest.seq = m.seq LEFT JOIN"
        " (SELECT account_id, unit, SUM(amount) AS held FROM holds WHERE state = 'open'"
        "  GROUP BY account_id, unit) AS h ON h.account_id = m.account_id AND h.unit = m.unit"
        " WHERE m.held_after <> COALESCE(h.held, 0)",
    ),
    (
        "holds: key {0} is said to have used {1}, its holds say {2}",
        "SELECT m.key_id, m.key_used_after, u.used FROM hold_moves AS m JOIN"
        " (SELECT key_id, MAX(seq) AS seq FROM hold_moves WHERE key_id IS NOT NULL"
        "  GROUP BY key_id) AS newest ON newest.seq = m.seq JOIN"
        " (SELECT j.key_id, SUM(CASE WHEN h.state = 'open' THEN h.amount ELSE h.captured END)"
        "  AS used FROM holds AS h JOIN jobs AS j ON j.id = h.job_id WHERE h.unit = 'credit'"
        "  GROUP BY j.key_id) AS u"
        " ON u.key_id = m.key_id WHERE m.key_used_after <> u.used",
    ),
    (
        "holds: {0} captured {1} of {2}",
        "SELECT id, captured, amount FROM holds WHERE captured > amount OR captured < 0"
        " OR (state <> 'captured' AND captured <> 0)",
    ),
    (
        "holds: {0} is in {1}, but its job is priced by the pool {2}",
        "SELECT h.id, h.unit, j.pool FROM holds AS h JOIN jobs AS j ON j.id = h.job_id"
        " WHERE (h.unit = 'board_run') <> (j.pool = 'boards')",
    ),
    (
        "holds: {0} captured {1} of {2} runs' millionths: a run is taken whole or not at all",
        "SELECT id, captured, amount FROM holds WHERE unit = 'board_run'"
        " AND (amount NOT IN (0, 1000000) OR captured NOT IN (0, amount))",
    ),
    (
        "holds: job {0} took {1} millionths of a run",
        "SELECT job_id, SUM(captured) FROM holds WHERE unit = 'board_run'"
        " GROUP BY job_id HAVING SUM(captured) NOT IN (0, 1000000)",
    ),
    (
        "numbers: {0} {1} {2} is no whole number",
        "SELECT dialect, kind, public_id FROM public_ids WHERE dialect = 'mimaas'"
        " AND (ltrim(public_id, '0123456789') <> '' OR substr(public_id, 1, 1) IN ('', '0'))",
    ),
    (
        "holds: {0} is {1} but ended_at is {2}",
        "SELECT id, state, ended_at FROM holds WHERE (state = 'open') <> (ended_at IS NULL)",
    ),
    (
        "holds: {0} has {1} open holds",
        "SELECT job_id, COUNT(*) FROM holds WHERE state = 'open' GROUP BY job_id"
        " HAVING COUNT(*) > 1",
    ),
    (
        "holds: job {0} is {1} without an open hold",
        "SELECT id, state FROM jobs WHERE state IN ('QUEUED', 'RUNNING') AND NOT EXISTS"
        " (SELECT 1 FROM holds WHERE holds.job_id = jobs.id AND holds.state = 'open')",
    ),
    (
        "holds: job {0} is {1} but still has an open hold",
        "SELECT j.id, j.state FROM holds AS h JOIN jobs AS j ON j.id = h.job_id"
        " WHERE h.state = 'open' AND j.state IN ('PAUSED', 'SUCCEEDED', 'FAILED', 'CANCELLED')",
    ),
    (
        "attempts: job {0} has {1} live attempts",
        "SELECT job_id, COUNT(*) FROM attempts WHERE $live GROUP BY job_id HAVING COUNT(*) > 1",
    ),
    (
        "attempts: job {0} says it has {1} attempts, there are {2}, numbered {3} to {4}",
        "SELECT j.id, j.n_attempts, a.n, a.low, a.high FROM jobs AS j LEFT JOIN"
        " (SELECT job_id, COUNT(*) AS n, MIN(number) AS low, MAX(number) AS high FROM attempts"
        "  GROUP BY job_id) AS a ON a.job_id = j.id WHERE j.n_attempts <> COALESCE(a.n, 0)"
        " OR COALESCE(a.low, 1) <> 1 OR COALESCE(a.high, 0) <> COALESCE(a.n, 0)",
    ),
    (
        "attempts: {0} is {1} without ended_at or reason, or lives with one",
        "SELECT id, state FROM attempts WHERE CASE WHEN $live"
        " THEN ended_at IS NOT NULL OR reason IS NOT NULL"
        " ELSE ended_at IS NULL OR reason IS NULL END",
    ),
    (
        "attempts: job {0} ran in {1} different images",
        "SELECT job_id, COUNT(DISTINCT image_digest) FROM attempts"
        " WHERE image_digest IS NOT NULL GROUP BY job_id HAVING COUNT(DISTINCT image_digest) > 1",
    ),
    (
        "jobs: {0} is marked live={1}, it has {2} live attempts",
        "SELECT id, live, n FROM (SELECT jobs.id, jobs.live, (SELECT COUNT(*) FROM attempts"
        " WHERE attempts.job_id = jobs.id AND attempts.$live) AS n FROM jobs) AS j"
        " WHERE live <> n",
    ),
    (
        "jobs: {0} stands in lane {1}, by its priority and resources it is {2}",
        "SELECT id, lane, due FROM (SELECT id, lane, substr('0000' || CAST(rank + 1000 AS TEXT),"
        " length(CAST(rank + 1000 AS TEXT)) + 1) || '.' || gpus || '.' || millicpus || '.'"
        " || memory_bytes || '.' || COALESCE(gpu_type, '') AS due FROM jobs) AS j"
        " WHERE lane <> due",
    ),
    (
        "jobs: {0} has outcome {1} without reason or ended_at",
        "SELECT id, outcome FROM jobs WHERE outcome IS NOT NULL"
        " AND (reason IS NULL OR ended_at IS NULL)",
    ),
    (
        "streams: {0} {1} says {2} points, its rows hold {3}",
        "SELECT h.attempt_id, h.stream, h.size, COALESCE(p.n, 0) FROM stream_heads AS h LEFT JOIN"
        " (SELECT attempt_id, SUM(n) AS n FROM point_rows GROUP BY attempt_id) AS p"
        " ON p.attempt_id = h.attempt_id WHERE h.stream = '$metrics'"
        " AND h.size <> COALESCE(p.n, 0)",
    ),
    (
        "streams: {0} metric {1} counts {2} points, its rows hold {3}",
        "SELECT l.attempt_id, l.name, l.n, COALESCE(p.n, 0) FROM latest_points AS l LEFT JOIN"
        " (SELECT attempt_id, name, SUM(n) AS n FROM point_rows GROUP BY attempt_id, name) AS p"
        " ON p.attempt_id = l.attempt_id AND p.name = l.name WHERE l.n <> COALESCE(p.n, 0)",
    ),
    (
        "streams: {0} metric {1} from {2}: {3} bytes for {4} points",
        "SELECT attempt_id, name, start, LENGTH(packed), n FROM point_rows"
        " WHERE LENGTH(packed) <> 24 * n",
    ),
    (
        "artifacts: {0} says {1} files and {2} bytes, recorded are {3} and {4}",
        "SELECT a.id, a.n_files, a.size_bytes, COALESCE(f.n, 0), COALESCE(f.size, 0)"
        " FROM artifacts AS a LEFT JOIN (SELECT artifact_id, COUNT(*) AS n,"
        " SUM(size_bytes) AS size FROM artifact_files GROUP BY artifact_id) AS f"
        " ON f.artifact_id = a.id"
        " WHERE a.n_files <> COALESCE(f.n, 0) OR a.size_bytes <> COALESCE(f.size, 0)",
    ),
    (
        "schedules: {0} was due {1} and fired before, at {2}",
        "SELECT schedule_id, due_at, fired_at FROM fires WHERE fired_at < due_at",
    ),
    (
        "schedules: fire {0} {1} is {2} but its job is {3}",
        "SELECT f.schedule_id, f.due_at, f.state, f.job_id FROM fires AS f LEFT JOIN jobs AS j"
        " ON j.id = f.job_id AND j.account_id = f.account_id"
        " WHERE (f.state = 'fired') <> (j.id IS NOT NULL)",
    ),
    (
        "schedules: fire {0} {1} is of account {2}, its schedule is of {3}",
        "SELECT f.schedule_id, f.due_at, f.account_id, s.account_id FROM fires AS f"
        " JOIN schedules AS s ON s.id = f.schedule_id WHERE s.account_id <> f.account_id",
    ),
    (
        "schedules: {0} would fire at {1} although it is paused or deleted",
        "SELECT id, next_due FROM schedules WHERE next_due IS NOT NULL"
        " AND (paused_at IS NOT NULL OR deleted_at IS NOT NULL)",
    ),
    (
        "volumes: {0} {1} holds {2}, which is no checkpoint of that account",
        "SELECT v.account_id, v.path, v.artifact_id FROM volumes AS v LEFT JOIN artifacts AS a"
        " ON a.id = v.artifact_id AND a.account_id = v.account_id AND a.kind = 'checkpoint'"
        " WHERE a.id IS NULL",
    ),
    (
        "deliveries: {0} is {1} but done_at is {2}",
        "SELECT id, state, done_at FROM deliveries WHERE (state = 'pending') <> (done_at IS NULL)",
    ),
    (
        "deliveries: {0} belongs to {1}, its subscription to {2}",
        "SELECT d.id, d.account_id, s.account_id FROM deliveries AS d JOIN subscriptions AS s"
        " ON s.id = d.subscription_id WHERE s.account_id IS NOT NULL"
        " AND d.account_id <> s.account_id",
    ),
    (
        "subscriptions: {0} has dropped {1} deliveries",
        "SELECT id, dropped FROM subscriptions WHERE dropped < 0",
    ),
    (
        "deliveries: the cursor {0} is beyond the last event",
        "SELECT value FROM meta WHERE key = 'deliveries.cursor'"
        " AND CAST(value AS BIGINT) > (SELECT COALESCE(MAX(seq), 0) FROM events)",
    ),
    (
        "benches: measurement {0} is of account {1}, its attempt of {2}",
        "SELECT m.attempt_id, m.account_id, a.account_id FROM measurements AS m"
        " JOIN attempts AS a ON a.id = m.attempt_id WHERE m.account_id <> a.account_id",
    ),
    (
        "benches: measurement {0} is answered at {1}, which does not go with what it holds",
        "SELECT attempt_id, answered_at FROM measurements WHERE CASE WHEN answered_at IS NULL"
        " THEN parcel IS NULL OR answer IS NOT NULL OR failure <> ''"
        " ELSE parcel IS NOT NULL OR answer IS NULL OR bench_id IS NULL END",
    ),
    (
        "uploads: {0} is complete without content, or has content without being complete",
        "SELECT id FROM uploads WHERE (completed_at IS NULL) <> (md5 IS NULL)",
    ),
)


def verify(link: Link) -> list[str]:
    """Return the broken invariants, at most 20 of each kind."""
    broken = []
    for words, query in RULES:
        rows = link.all(" ".join((_filled(query), "LIMIT ?")), (SHOWN,))
        broken += [words.format(*row) for row in rows]
    checks: tuple[Callable[[Link], Iterator[str]], ...] = (
        _states, _phases, _logs, _audit, _integrity,
    )  # fmt: skip
    for check in checks:
        for sentence, _ in zip(check(link), range(SHOWN), strict=False):
            broken.append(sentence)
    return broken


def _filled(query: str) -> str:
    """Put in what the tables define."""
    return query.replace("$live", LIVE).replace("$metrics", METRICS)


def _states(link: Link) -> Iterator[str]:
    """Job.state is what the one pure function says (D2)."""
    query = (
        "SELECT j.id, j.state, j.intent, j.outcome, a.state FROM jobs AS j"
        " LEFT JOIN attempts AS a ON a.job_id = j.id AND a.$live"
    )
    for id_, state, intent, outcome, live in link.all(_filled(query)):
        due = derive_job_state(
            Intent(intent),
            AttemptState(live) if live else None,
            JobState(outcome) if outcome else None,
        )
        if state != due:
            yield f"jobs: {id_} is {state}, but by intent {intent}, attempt {live} it is {due}"


def _phases(link: Link) -> Iterator[str]:
    """A Schedule's phase by the SQL that filters is what the one pure function says."""
    repo = SqlSchedules(link)
    query = ("SELECT s.account_id, s.id,", PHASE, WITH_JOB)
    for account_id, id_, phase in link.all(" ".join(query)):
        one = repo.get(id_, account_id)
        due = phase_of(one, repo.last_jobs([one]).get(id_))
        if phase != due.value:
            yield f"schedules: {id_} is {phase}, but by its last fire it is {due}"


def _logs(link: Link) -> Iterator[str]:
    """Sealed parts and chunks of a log follow one another without a gap, up to its size."""
    pieces: dict[tuple[str, str], list[Row]] = {}
    for table in ("sealed_parts", "log_chunks"):
        query = ("SELECT attempt_id, stream, start, length FROM", table)
        for attempt_id, stream, start, length in link.all(" ".join(query)):
            pieces.setdefault((attempt_id, stream), []).append((start, length, table))
    for attempt_id, stream, size, sealed_to in link.all(
        "SELECT attempt_id, stream, size, sealed_to FROM stream_heads"
    ):
        if stream == METRICS:
            continue
        end = sealed_end = 0
        for start, length, table in sorted(pieces.pop((attempt_id, stream), ())):
            if start != end:
                yield f"streams: {attempt_id} {stream} has a gap or overlap at {end}: {start}"
            end = start + length
            sealed_end = end if table == "sealed_parts" else sealed_end
        if (end, sealed_end) != (size, sealed_to):
            yield (
                f"streams: {attempt_id} {stream} says {size} bytes, {sealed_to} sealed;"
                f" its pieces end at {end}, {sealed_end}"
            )
    for attempt_id, stream in pieces:
        yield f"streams: {attempt_id} {stream} has pieces but no head"


def _audit(link: Link) -> Iterator[str]:
    """Every line of the audit log carries the hash of itself and of the line before."""
    chain = ""
    query = "SELECT seq, at, actor, account_id, action, target, data, chain FROM audit ORDER BY seq"
    for row in link.all(query):
        entry = audit_from(row)
        due = link_of(chain, micros(entry.at), entry, plain(entry.data))
        if due != entry.chain:
            yield f"audit: line {entry.seq} does not continue the chain"
        chain = entry.chain


def _integrity(link: Link) -> Iterator[str]:
    """The file itself, its indexes and foreign keys (SQLite)."""
    if link.engine != "sqlite":
        return
    for (found,) in link.all("PRAGMA integrity_check(20)"):
        if found != "ok":
            yield f"database: {found}"
    for row in link.all("PRAGMA foreign_key_check"):
        yield f"database: {row[0]} row {row[1]} refers to a missing row of {row[2]}"
