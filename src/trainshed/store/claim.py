"""Every query that claims, leases or locks (law 11), each with a name and the reason for its
shape.
"""

from __future__ import annotations

from trainshed.store import sql
from trainshed.store.mapping import ATTEMPT_MUTABLE
from trainshed.store.tables import attempts, deliveries, fires, holds, jobs, measurements, schedules
from trainshed.store.tables.deliveries import PENDING
from trainshed.store.tables.jobs import LIVE, PLACEABLE

#: Accounts that have something placeable: one index probe an account, however long the queues
#: are (a loose index scan; ``SELECT DISTINCT`` would walk every queued Job).
WAITING_ACCOUNTS = f"""
WITH RECURSIVE waiting(account_id) AS (
    SELECT MIN(account_id) FROM jobs WHERE {PLACEABLE}
    UNION ALL
    SELECT (SELECT MIN(jobs.account_id) FROM jobs
            WHERE jobs.account_id > waiting.account_id AND {PLACEABLE})
    FROM waiting WHERE waiting.account_id IS NOT NULL
)
SELECT account_id FROM waiting WHERE account_id IS NOT NULL
"""  # noqa: S608  constants only

#: The lanes of one account from a given one on, best priority first: one index probe a lane.
LANES = f"""
WITH RECURSIVE lanes(lane) AS (
    SELECT MIN(lane) FROM jobs WHERE account_id = ? AND lane > ? AND {PLACEABLE}
    UNION ALL
    SELECT (SELECT MIN(jobs.lane) FROM jobs
            WHERE jobs.account_id = ? AND jobs.lane > lanes.lane AND {PLACEABLE})
    FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT lane FROM lanes WHERE lane IS NOT NULL LIMIT ?
"""  # noqa: S608  constants only

#: The head of one lane: a walk of ``ix_jobs_placeable`` that stops at the limit.
#: ``not_before`` is in the index, so Jobs in back-off are passed over without touching them.
LANE_HEAD = f"""
SELECT id, account_id, millicpus, memory_bytes, gpus, gpu_type, pool, rank, created_at,
       max_runtime_s, not_before
FROM jobs
WHERE account_id = ? AND lane = ? AND {PLACEABLE} AND (not_before IS NULL OR not_before <= ?)
ORDER BY created_at, id
LIMIT ?
"""  # noqa: S608  constants only

#: How many placeable Jobs come first: counted in ``ix_jobs_placeable`` alone.
N_AHEAD = (
    f"SELECT COUNT(*) FROM jobs WHERE {PLACEABLE}"  # noqa: S608  constants only
    " AND (rank, created_at, id) < (?, ?, ?)"
)

#: When the next back-off ends: the first entry of ``ix_jobs_due`` after now.
NEXT_DUE = (
    f"SELECT MIN(not_before) FROM jobs WHERE {PLACEABLE}"  # noqa: S608  constants only
    " AND not_before IS NOT NULL AND not_before > ?"
)

#: Take the lease: the partial unique index ``uq_attempts_live`` lets one of two racers in, and
#: zero rows tells the other (no exception, so the PostgreSQL transaction stays usable).
LEASE = sql.insert(attempts, tail="ON CONFLICT DO NOTHING")

#: The fenced write (law 4): the same token, and still live. Zero rows: the caller is stale.
SAVE_IF_HELD = sql.update(attempts, ATTEMPT_MUTABLE, "WHERE id = ? AND token = ? AND", LIVE)

#: Renewal flushed for many at once; fenced in the same way, and never moved back.
RENEW = sql.update(
    attempts, ("renewed_at",), "WHERE id = ? AND token = ? AND", LIVE,
    "AND (renewed_at IS NULL OR renewed_at < ?)",
)  # fmt: skip

#: Keep ``jobs.live`` in step with the Attempt, in the same transaction.
MARK_LIVE = "UPDATE jobs SET live = ? WHERE id = ? AND live <> ?"

#: All leases: a walk of the partial index of live Attempts.
LIVE_ATTEMPTS = sql.select(attempts, "WHERE", LIVE, "ORDER BY leased_at, id")

#: All leases with what placement must know of their Jobs.
RUNNING = " ".join(
    (
        "SELECT", sql.columns(attempts, "a"), ", j.rank, j.max_runtime_s, j.infrastructure_used,"
        " (SELECT COALESCE(SUM(e.billable_ms), 0) FROM attempts AS e"
        "  WHERE e.job_id = a.job_id AND e.number < a.number)",
        "FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id WHERE", f"a.{LIVE}",
        "ORDER BY a.leased_at, a.id",
    )
)  # fmt: skip
LIVE_OF_JOB = sql.select(attempts, "WHERE job_id = ? AND", LIVE)

#: Serialise the money of one account. NO KEY: a Job being inserted holds a key-share lock on the
#: account's row by its foreign key, and two such would wait for each other under FOR UPDATE.
LOCK_ACCOUNT = "SELECT id FROM accounts WHERE id = ? FOR NO KEY UPDATE"

#: Lock a Job or Attempt that a write decides upon, so that two decisions cannot cross.
FOR_UPDATE = " FOR NO KEY UPDATE"

#: Reserve: ``uq_holds_open`` admits one open hold a Job.
RESERVE = sql.insert(holds, tail="ON CONFLICT DO NOTHING")

#: Capture or release, once: only from open.
END_HOLD = sql.update(
    holds, ("state", "captured", "ended_at"), "WHERE id = ? AND state = 'open'"
)  # fmt: skip

#: Subscriptions with a Delivery that is due: one probe of ``ix_deliveries_due`` for each that has
#: any pending, however many those are.
WAITING_SUBSCRIPTIONS = f"""
WITH RECURSIVE waiting(id) AS (
    SELECT MIN(subscription_id) FROM deliveries WHERE {PENDING}
    UNION ALL
    SELECT (SELECT MIN(deliveries.subscription_id) FROM deliveries
            WHERE deliveries.subscription_id > waiting.id AND {PENDING})
    FROM waiting WHERE waiting.id IS NOT NULL
)
SELECT id FROM waiting WHERE id IS NOT NULL AND EXISTS
    (SELECT 1 FROM deliveries
     WHERE deliveries.subscription_id = waiting.id AND {PENDING} AND deliveries.next_at <= ?)
"""  # noqa: S608  constants only

#: The first due ones of a Subscription; what another server is just claiming is passed over.
DUE = sql.select(
    deliveries, "WHERE subscription_id = ? AND", PENDING, "AND next_at <= ?",
    "ORDER BY next_at, id LIMIT ?",
)  # fmt: skip
SKIP_LOCKED = " FOR NO KEY UPDATE SKIP LOCKED"

#: A try begins: a crash before it is settled leaves the row due again at ``next_at``.
BEGIN_TRY = sql.update(deliveries, ("next_at",), "WHERE id = ?").replace(
    "SET ", "SET tries = tries + 1, "
)

#: Only the newest try of a pending Delivery may say how it ended.
SETTLE_TRY = sql.update(
    deliveries,
    ("state", "next_at", "done_at", "status", "detail", "response", "took_ms"),
    "WHERE id = ? AND tries = ? AND", PENDING,
)  # fmt: skip

#: Take an office that is free or expired, or keep one's own. The condition and the write are one
#: statement: of two who try, the second waits for the first and then finds it taken. The term
#: grows when the holder changes, so that whoever lost it meanwhile can tell.
HOLD_OFFICE = """
INSERT INTO offices (name, holder, term, expires_at) VALUES (?, ?, 1, ?)
ON CONFLICT (name) DO UPDATE SET
    term = offices.term + CASE WHEN offices.holder = excluded.holder THEN 0 ELSE 1 END,
    holder = excluded.holder, expires_at = excluded.expires_at
WHERE offices.holder = excluded.holder OR offices.expires_at < ?
"""
OFFICE_TERM = "SELECT term FROM offices WHERE name = ? AND holder = ?"
LEAVE_OFFICE = "UPDATE offices SET expires_at = 0 WHERE name = ? AND holder = ?"

#: What waits for a bench of a board: the bench's own first (it may have lost our answer), else the
#: oldest that nobody has, or that a bench has which was not heard of lately. Only for an Attempt
#: that lives; a row that another bench is just taking is passed over.
_OPEN = f"answered_at IS NULL AND attempt_id IN (SELECT id FROM attempts WHERE {LIVE})"  # noqa: S608
WAITING_MEASUREMENT = (
    f"SELECT attempt_id FROM measurements WHERE board = ? AND {_OPEN}"  # noqa: S608
    " AND (bench_id IS NULL OR bench_id = ?"
    " OR bench_id NOT IN (SELECT id FROM benches WHERE seen_at > ?))"
    " ORDER BY CASE WHEN bench_id = ? THEN 0 ELSE 1 END, asked_at, attempt_id LIMIT 1"
)
TAKE_MEASUREMENT = "UPDATE measurements SET bench_id = ? WHERE attempt_id = ?"

#: Only the bench that has it sees what is to be measured, and may say, once, how it went.
_TAKEN = f"WHERE attempt_id = ? AND bench_id = ? AND {_OPEN}"
TAKEN_PARCEL = f"SELECT parcel FROM measurements {_TAKEN}"  # noqa: S608
ANSWER = sql.update(measurements, ("answer", "failure", "answered_at", "parcel"), _TAKEN)

#: One number for the lock under which sequence numbers are given on PostgreSQL (D11), and one for
#: migrations. Arbitrary, fixed for ever.
SEQUENCE_LOCK = 7_240_001
MIGRATION_LOCK = 7_240_002

GET_JOB = sql.select(jobs, "WHERE id = ? AND deleted_at IS NULL")
GET_ATTEMPT = sql.select(attempts, "WHERE id = ?")

#: Take a due time: the primary key lets one of two servers in; zero rows tells the other, in the
#: transaction that would have made the Job.
FIRE = sql.insert(fires, tail="ON CONFLICT DO NOTHING")

#: What is due, a walk of ``ix_schedules_due``; a Schedule that queues is left out until the Job of
#: its last fire has ended, so it is not tried again and again.
DUE_SCHEDULES = sql.select(
    schedules,
    "WHERE next_due <= ? AND (next_due, id) > (?, ?) AND NOT (overlap = 'queue' AND EXISTS"
    " (SELECT 1 FROM jobs WHERE jobs.id = schedules.last_job_id AND jobs.outcome IS NULL))"
    " ORDER BY next_due, id LIMIT ?",
)
NEXT_SCHEDULE = "SELECT MIN(next_due) FROM schedules WHERE next_due > ?"
SCHEDULE_NAMED = "SELECT id FROM schedules WHERE account_id = ? AND name = ? AND deleted_at IS NULL"
