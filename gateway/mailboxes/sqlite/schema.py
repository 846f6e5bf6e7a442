"""The tables of the file, and how each version becomes the next one.

Times are seconds: those of leases by `Clock.uptime`, all others since the epoch.
"""

_VERSION_1 = (
    # A mailbox has a row while it has mail or an owner. `token` is the fencing token of
    # its owner, or empty. `suspect` is the position of the mail to which the counts of
    # lost owners and the stage belong.
    """CREATE TABLE mailboxes (
        ordering_key TEXT PRIMARY KEY,
        claimable_at REAL NOT NULL,
        token TEXT NOT NULL,
        suspect REAL NOT NULL,
        owner_losses INTEGER NOT NULL DEFAULT 0,
        owner_crashes INTEGER NOT NULL DEFAULT 0,
        stage INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    "CREATE INDEX mailboxes_by_time ON mailboxes (claimable_at)",
    # The position of an update is its `update_id`; that of a delivery is a little
    # higher than the position of the mail before it.
    """CREATE TABLE mail (
        ordering_key TEXT NOT NULL,
        position REAL NOT NULL,
        arrived_at REAL,
        body BLOB NOT NULL,
        delivery BLOB,
        PRIMARY KEY (ordering_key, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE states (
        ordering_key TEXT PRIMARY KEY,
        state BLOB NOT NULL,
        expires_at REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        is_rejected INTEGER NOT NULL,
        update_id INTEGER,
        ordering_key TEXT,
        reason TEXT NOT NULL,
        dead_lettered_at REAL NOT NULL,
        added_at REAL NOT NULL,
        body BLOB NOT NULL,
        delivery BLOB
    )""",
    "CREATE INDEX dead_letters_by_kind ON dead_letters (is_rejected, id)",
    # The record of a delivery. `delivery` has the delivery itself only while it waits
    # outside of its mailbox, from `waits_until` on; `position` is its place in the
    # mailbox; `expires_at` is set at its end.
    """CREATE TABLE deliveries (
        delivery_id TEXT PRIMARY KEY,
        ordering_key TEXT NOT NULL,
        caller TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        collapse_key TEXT NOT NULL,
        report TEXT NOT NULL,
        state TEXT NOT NULL,
        sequence_number INTEGER NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        description TEXT NOT NULL DEFAULT '',
        next_part INTEGER NOT NULL DEFAULT 0,
        owner TEXT NOT NULL DEFAULT '',
        sent_parts BLOB NOT NULL,
        maybe_repeated INTEGER NOT NULL DEFAULT 0,
        accepted_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        position REAL,
        delivery BLOB,
        is_bulk INTEGER NOT NULL,
        waits_until REAL,
        expires_at REAL,
        is_reported INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE INDEX deliveries_that_wait ON deliveries (is_bulk, waits_until)
        WHERE waits_until IS NOT NULL""",
    """CREATE INDEX deliveries_by_collapse_key
        ON deliveries (ordering_key, caller, collapse_key) WHERE collapse_key <> ''""",
    """CREATE INDEX deliveries_that_ended ON deliveries (expires_at)
        WHERE expires_at IS NOT NULL""",
    """CREATE INDEX deliveries_to_report ON deliveries (updated_at)
        WHERE is_reported = 1""",
    """CREATE TABLE recipients (
        bot_id INTEGER NOT NULL,
        internal_user_id TEXT NOT NULL,
        telegram_user_id INTEGER NOT NULL,
        PRIMARY KEY (bot_id, internal_user_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE polling_leases (
        bot_id INTEGER PRIMARY KEY,
        token TEXT NOT NULL,
        expires_at REAL NOT NULL
    )""",
    """CREATE TABLE cooldowns (
        bot_id INTEGER NOT NULL,
        chat_id INTEGER NOT NULL,
        ends_at REAL NOT NULL,
        PRIMARY KEY (bot_id, chat_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE cancellations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        ordering_key TEXT NOT NULL,
        draft_id INTEGER NOT NULL,
        expires_at REAL NOT NULL
    )""",
)

MIGRATIONS = (_VERSION_1,)
"""The statements that lead to each version; the first one begins with an empty file."""
