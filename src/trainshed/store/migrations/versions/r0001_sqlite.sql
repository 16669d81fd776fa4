-- Revision 0001 for sqlite: frozen once released. Statements end with a semicolon at a line's end.
CREATE TABLE accounts (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    weight FLOAT NOT NULL,
    quota_bytes BIGINT,
    rate_limit TEXT NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_accounts_name ON accounts (name);

CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    account_id TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    data TEXT NOT NULL,
    chain TEXT NOT NULL
);
CREATE INDEX ix_audit_account ON audit (account_id, seq);

CREATE TABLE entries (
    seq INTEGER NOT NULL,
    txn_id TEXT NOT NULL,
    book TEXT NOT NULL,
    amount BIGINT NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    job_id TEXT,
    attempt_id TEXT,
    memo TEXT NOT NULL,
    balance_after BIGINT,
    CONSTRAINT pk_entries PRIMARY KEY (seq)
);
CREATE INDEX ix_entries_book ON entries (book, unit, seq);
CREATE INDEX ix_entries_txn ON entries (txn_id);

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    job_id TEXT,
    attempt_id TEXT,
    data TEXT NOT NULL
);
CREATE INDEX ix_events_account ON events (account_id, seq);
CREATE INDEX ix_events_job ON events (job_id, seq);

CREATE TABLE hold_moves (
    seq INTEGER NOT NULL,
    hold_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    delta BIGINT NOT NULL,
    held_after BIGINT NOT NULL,
    key_id TEXT,
    key_used_after BIGINT,
    CONSTRAINT pk_hold_moves PRIMARY KEY (seq)
);
CREATE INDEX ix_hold_moves_account ON hold_moves (account_id, unit, seq);
CREATE INDEX ix_hold_moves_key ON hold_moves (key_id, seq) WHERE key_id IS NOT NULL;

CREATE TABLE latest_points (
    attempt_id TEXT NOT NULL,
    name TEXT NOT NULL,
    step BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    value BLOB NOT NULL,
    n BIGINT NOT NULL,
    CONSTRAINT pk_latest_points PRIMARY KEY (attempt_id, name)
)
 WITHOUT ROWID;

CREATE TABLE log_chunks (
    attempt_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    start BIGINT NOT NULL,
    length BIGINT NOT NULL,
    at BIGINT NOT NULL,
    data BLOB NOT NULL,
    CONSTRAINT pk_log_chunks PRIMARY KEY (attempt_id, stream, start)
);

CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY ("key")
)
 WITHOUT ROWID;

CREATE TABLE point_rows (
    attempt_id TEXT NOT NULL,
    name TEXT NOT NULL,
    start BIGINT NOT NULL,
    n BIGINT NOT NULL,
    first_step BIGINT NOT NULL,
    last_step BIGINT NOT NULL,
    packed BLOB NOT NULL,
    CONSTRAINT pk_point_rows PRIMARY KEY (attempt_id, name, start)
)
 WITHOUT ROWID;
CREATE INDEX ix_point_rows_order ON point_rows (attempt_id, start);

CREATE TABLE public_ids (
    dialect TEXT NOT NULL,
    kind TEXT NOT NULL,
    public_id TEXT NOT NULL,
    object_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    CONSTRAINT pk_public_ids PRIMARY KEY (dialect, kind, public_id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX uq_public_ids_object ON public_ids (dialect, kind, object_id);

CREATE TABLE remembered (
    account_id TEXT NOT NULL,
    "key" TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT NOT NULL,
    body BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_remembered PRIMARY KEY (account_id, "key")
);
CREATE INDEX ix_remembered_created ON remembered (created_at);

CREATE TABLE sealed_parts (
    attempt_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    start BIGINT NOT NULL,
    length BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    md5 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    CONSTRAINT pk_sealed_parts PRIMARY KEY (attempt_id, stream, start)
);
CREATE INDEX ix_sealed_parts_account ON sealed_parts (account_id);

CREATE TABLE stream_heads (
    attempt_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    account_id TEXT NOT NULL,
    size BIGINT NOT NULL,
    truncated BIGINT NOT NULL,
    sealed_to BIGINT NOT NULL,
    CONSTRAINT pk_stream_heads PRIMARY KEY (attempt_id, stream)
)
 WITHOUT ROWID;
CREATE INDEX ix_stream_heads_account ON stream_heads (account_id);

CREATE TABLE jobs (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    user_id TEXT,
    key_id TEXT,
    dialect TEXT NOT NULL,
    workload TEXT NOT NULL,
    pool TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    intent TEXT NOT NULL,
    outcome TEXT,
    reason TEXT,
    message TEXT NOT NULL,
    rank BIGINT NOT NULL,
    live BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    not_before BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    deleted_at BIGINT,
    retry_of TEXT,
    retries_used BIGINT NOT NULL,
    infrastructure_used BIGINT NOT NULL,
    n_attempts BIGINT NOT NULL,
    millicpus BIGINT NOT NULL,
    memory_bytes BIGINT NOT NULL,
    gpus BIGINT NOT NULL,
    gpu_type TEXT,
    max_runtime_s BIGINT NOT NULL,
    spec TEXT NOT NULL,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT fk_jobs_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
CREATE INDEX ix_jobs_all ON jobs (created_at, id, dialect, workload, pool, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_jobs_due ON jobs (not_before) WHERE outcome IS NULL AND intent = 'run' AND live = 0 AND not_before IS NOT NULL;
CREATE INDEX ix_jobs_name ON jobs (account_id, name, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_jobs_page ON jobs (account_id, created_at, id, dialect, workload, pool) WHERE deleted_at IS NULL;
CREATE INDEX ix_jobs_placeable ON jobs (account_id, rank, created_at, id, not_before) WHERE outcome IS NULL AND intent = 'run' AND live = 0;
CREATE INDEX ix_jobs_state ON jobs (account_id, state, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE uploads (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    path TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    md5 TEXT,
    sha256 TEXT,
    blob_bytes BIGINT,
    completed_at BIGINT,
    CONSTRAINT pk_uploads PRIMARY KEY (id),
    CONSTRAINT fk_uploads_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
CREATE INDEX ix_uploads_page ON uploads (account_id, created_at, id);
CREATE INDEX ix_uploads_path ON uploads (account_id, path, created_at);

CREATE TABLE users (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    username TEXT NOT NULL,
    username_folded TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    operator BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT fk_users_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
CREATE INDEX ix_users_account ON users (account_id);
CREATE UNIQUE INDEX uq_users_username ON users (username_folded);

CREATE TABLE artifacts (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    attempt_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    step BIGINT,
    pinned BIGINT NOT NULL,
    n_files BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    CONSTRAINT pk_artifacts PRIMARY KEY (id),
    CONSTRAINT fk_artifacts_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_artifacts_account ON artifacts (account_id);
CREATE INDEX ix_artifacts_job ON artifacts (job_id, created_at, id);

CREATE TABLE attempts (
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    token BIGINT NOT NULL,
    offer_id TEXT NOT NULL,
    executor TEXT NOT NULL,
    pool TEXT NOT NULL,
    millicpus BIGINT NOT NULL,
    memory_bytes BIGINT NOT NULL,
    devices TEXT NOT NULL,
    gpus BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    message TEXT NOT NULL,
    order_sent TEXT,
    isolation TEXT,
    handle TEXT NOT NULL,
    leased_at BIGINT NOT NULL,
    renewed_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    exit_code BIGINT,
    signal BIGINT,
    runtime_ms BIGINT NOT NULL,
    billable_ms BIGINT NOT NULL,
    checkpoint_ms BIGINT NOT NULL,
    resumed_from TEXT,
    resumed_step BIGINT,
    runner_token_hash TEXT NOT NULL,
    job_token_hash TEXT NOT NULL,
    CONSTRAINT pk_attempts PRIMARY KEY (id),
    CONSTRAINT uq_attempts_number UNIQUE (job_id, number),
    CONSTRAINT fk_attempts_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_attempts_account ON attempts (account_id);
CREATE INDEX ix_attempts_usage ON attempts (ended_at, account_id, started_at, millicpus, gpus);
CREATE UNIQUE INDEX uq_attempts_live ON attempts (job_id) WHERE state IN ('LEASED', 'STARTING', 'RUNNING', 'CHECKPOINTING');

CREATE TABLE holds (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    amount BIGINT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    captured BIGINT NOT NULL,
    ended_at BIGINT,
    CONSTRAINT pk_holds PRIMARY KEY (id),
    CONSTRAINT fk_holds_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_holds_account ON holds (account_id, created_at, id);
CREATE INDEX ix_holds_job ON holds (job_id);
CREATE INDEX ix_holds_open ON holds (account_id, unit, amount) WHERE state = 'open';
CREATE UNIQUE INDEX uq_holds_open ON holds (job_id) WHERE state = 'open';

CREATE TABLE job_envs (
    job_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    CONSTRAINT pk_job_envs PRIMARY KEY (job_id),
    CONSTRAINT fk_job_envs_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);

CREATE TABLE job_labels (
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    account_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    job_id TEXT NOT NULL,
    CONSTRAINT pk_job_labels PRIMARY KEY (label, value, account_id, created_at, job_id),
    CONSTRAINT fk_job_labels_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
)
 WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    lookup TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    spend_limit_ucredits BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT,
    CONSTRAINT pk_keys PRIMARY KEY (id),
    CONSTRAINT fk_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_keys_account ON keys (account_id);
CREATE UNIQUE INDEX uq_keys_lookup ON keys (lookup);

CREATE TABLE sessions (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT fk_sessions_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_sessions_user ON sessions (user_id);

CREATE TABLE artifact_files (
    artifact_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    path TEXT NOT NULL,
    md5 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    executable BIGINT NOT NULL,
    CONSTRAINT pk_artifact_files PRIMARY KEY (artifact_id, position),
    CONSTRAINT fk_artifact_files_artifact_id FOREIGN KEY(artifact_id) REFERENCES artifacts (id)
)
 WITHOUT ROWID;
CREATE INDEX ix_artifact_files_blob ON artifact_files (account_id, md5, size_bytes);
