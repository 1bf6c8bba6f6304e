-- Made by the schema as it was, with a row in every table.
CREATE TABLE schema_version (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
CREATE TABLE log (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    firstSeq INTEGER NOT NULL,
    nextSeq INTEGER NOT NULL,
    receivedMs INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    batch BLOB NOT NULL
  ) STRICT;
CREATE TABLE log_totals (one INTEGER PRIMARY KEY CHECK (one = 1), batches INTEGER NOT NULL, events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    receivedMs INTEGER NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;
CREATE TABLE received (
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    first INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, first)
  ) STRICT, WITHOUT ROWID;
CREATE TABLE epochs (
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    boot TEXT NOT NULL DEFAULT '',
    firstMs INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    -- Events stored, as sequence numbers received for the first time.
    stored INTEGER NOT NULL DEFAULT 0,
    -- Below this the device holds nothing more: what is missing there is lost.
    floor INTEGER NOT NULL DEFAULT 0,
    -- The highest end of the epoch a heartbeat named; 0 before one did.
    next INTEGER NOT NULL DEFAULT 0,
    lostKernel INTEGER NOT NULL DEFAULT 0,
    lostShed INTEGER NOT NULL DEFAULT 0,
    lostBuffer INTEGER NOT NULL DEFAULT 0,
    holes INTEGER NOT NULL DEFAULT 0, intervals INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, epoch)
  ) STRICT, WITHOUT ROWID;
CREATE TABLE epochs_forgotten (device TEXT PRIMARY KEY, stored INTEGER NOT NULL, lost INTEGER NOT NULL) STRICT;
CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    enrolledMs INTEGER NOT NULL,
    trust TEXT NOT NULL DEFAULT 'enrolled',
    presence TEXT NOT NULL DEFAULT 'never',
    lastSeenMs INTEGER,
    status TEXT,
    -- The interval of silence an alert was raised for; its start is the alert's anchor.
    silentSinceMs INTEGER,
    lostSeen INTEGER NOT NULL DEFAULT 0
  ) STRICT;
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    issuedMs INTEGER NOT NULL,
    notAfterMs INTEGER NOT NULL,
    revokedMs INTEGER
  ) STRICT;
CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    engine TEXT NOT NULL,
    severity TEXT NOT NULL,
    revision INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    -- The broker's clock: lastMs is the device's, which may be wrong by years.
    changedMs INTEGER NOT NULL,
    "group" TEXT NOT NULL,
    detection TEXT NOT NULL,
    -- Written by operators only.
    status TEXT NOT NULL DEFAULT 'open',
    assignee TEXT,
    notes TEXT NOT NULL DEFAULT '[]'
  ) STRICT;
CREATE TABLE detector (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL, read INTEGER NOT NULL, refused INTEGER NOT NULL) STRICT;
CREATE TABLE seen (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    PRIMARY KEY (device, kind, key)
  ) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (hash TEXT PRIMARY KEY, createdMs INTEGER NOT NULL, expiresMs INTEGER NOT NULL, usesLeft INTEGER NOT NULL) STRICT;
CREATE TABLE credentials (
    id INTEGER PRIMARY KEY,
    operator TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    createdMs INTEGER NOT NULL,
    revokedMs INTEGER
  ) STRICT;
CREATE TABLE key_lists (
    version INTEGER PRIMARY KEY,
    jws TEXT NOT NULL,
    operator TEXT NOT NULL,
    putMs INTEGER NOT NULL
  ) STRICT;
CREATE TABLE commands (
    -- The order of arrival: a device's last isolate or release is what the operators want, whatever became of it.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    jti TEXT NOT NULL UNIQUE,
    device TEXT NOT NULL,
    act TEXT NOT NULL,
    kid TEXT NOT NULL,
    ctr INTEGER NOT NULL,
    operator TEXT NOT NULL,
    jws TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'answered', 'expired')),
    createdMs INTEGER NOT NULL,
    expiresMs INTEGER NOT NULL,
    result TEXT
  ) STRICT;
CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    queued INTEGER NOT NULL DEFAULT 0,
    queuedBytes INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    lastError TEXT,
    lastDeliveryMs INTEGER
  ) STRICT;
CREATE TABLE sink_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sink TEXT NOT NULL REFERENCES sinks (name),
    message TEXT NOT NULL,
    payload TEXT NOT NULL,
    sizeBytes INTEGER NOT NULL,
    queuedMs INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    nextMs INTEGER NOT NULL,
    UNIQUE (sink, message)
  ) STRICT;
CREATE TABLE sink_told (alert TEXT PRIMARY KEY, rank INTEGER NOT NULL, toldMs INTEGER NOT NULL) STRICT;
CREATE TABLE mesh_self (one INTEGER PRIMARY KEY CHECK (one = 1), log TEXT NOT NULL, nextPos INTEGER NOT NULL) STRICT;
CREATE TABLE mesh_invites (hash TEXT PRIMARY KEY, operator TEXT NOT NULL, createdMs INTEGER NOT NULL, expiresMs INTEGER NOT NULL) STRICT;
CREATE TABLE mesh_peers (
    site TEXT PRIMARY KEY,
    ca TEXT NOT NULL,
    caHash TEXT NOT NULL UNIQUE,
    -- Where this site dials the peer; NULL where the peer dials.
    address TEXT,
    operator TEXT NOT NULL,
    joinedMs INTEGER NOT NULL,
    leftMs INTEGER,
    muted INTEGER NOT NULL DEFAULT 0,
    itemsPerS REAL,
    limitedBy TEXT,
    lastSeenMs INTEGER,
    -- How far the peer has stored our log, and how far we have stored its.
    sentPos INTEGER NOT NULL DEFAULT 0,
    receivedLog TEXT,
    receivedPos INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0
  ) STRICT;
CREATE TABLE mesh_refused (peer TEXT NOT NULL, why TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (peer, why)) STRICT, WITHOUT ROWID;
CREATE TABLE mesh_sites (
    site TEXT NOT NULL,
    caHash TEXT NOT NULL,
    ca TEXT NOT NULL,
    via TEXT NOT NULL,
    introducedMs INTEGER NOT NULL,
    PRIMARY KEY (site, caHash, via)
  ) STRICT, WITHOUT ROWID;
CREATE TABLE mesh_items (
    pos INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    caHash TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    hops TEXT NOT NULL,
    hopCount INTEGER NOT NULL GENERATED ALWAYS AS (json_array_length(hops)) STORED,
    -- The peer it came from; empty for our own.
    source TEXT NOT NULL,
    -- open: our own, not signed yet, 'content' is the JSON to sign. ready: 'content' is the JWS. gone: let go, only its name is remembered.
    state TEXT NOT NULL CHECK (state IN ('open', 'ready', 'gone')),
    bytes INTEGER NOT NULL,
    storedMs INTEGER NOT NULL,
    -- Last: the columns before it are read without it.
    content TEXT NOT NULL,
    UNIQUE (origin, caHash, kind, id)
  ) STRICT;
CREATE TABLE mesh_alerts (
    origin TEXT NOT NULL,
    caHash TEXT NOT NULL,
    id TEXT NOT NULL,
    -- The id it has at this site: its own, or another where somebody else's alert has that one already.
    shown TEXT NOT NULL UNIQUE,
    via TEXT NOT NULL,
    receivedMs INTEGER NOT NULL,
    device TEXT NOT NULL,
    severity TEXT NOT NULL,
    revision INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    detection TEXT NOT NULL,
    -- Decided by operators of this site, for this site.
    status TEXT NOT NULL DEFAULT 'open',
    assignee TEXT,
    notes TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (origin, caHash, id)
  ) STRICT;
CREATE TABLE mesh_verdicts (
    origin TEXT NOT NULL, caHash TEXT NOT NULL, sha256 TEXT NOT NULL, via TEXT NOT NULL, receivedMs INTEGER NOT NULL,
    verdict TEXT NOT NULL, rules TEXT NOT NULL, judgedMs INTEGER NOT NULL,
    PRIMARY KEY (sha256, origin, caHash)
  ) STRICT, WITHOUT ROWID;
CREATE TABLE mesh_iocs (
    origin TEXT NOT NULL, caHash TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, via TEXT NOT NULL, receivedMs INTEGER NOT NULL,
    confidence INTEGER NOT NULL, expiresMs INTEGER NOT NULL, source TEXT NOT NULL, sharedMs INTEGER NOT NULL,
    PRIMARY KEY (kind, value, origin, caHash)
  ) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    sha256 TEXT PRIMARY KEY,
    -- wanted: a device is to send it. arrived: here, not scanned. scanned: has a verdict. gone, too-big: nobody can or may send it.
    state TEXT NOT NULL,
    -- Of the file in the spool; NULL where there is none.
    size INTEGER,
    -- The verdict, and the rules it came from.
    pack TEXT,
    matches TEXT,
    error TEXT,
    bad INTEGER NOT NULL DEFAULT 0,
    -- How often a detector was given it and said nothing.
    attempts INTEGER NOT NULL DEFAULT 0,
    changedMs INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
CREATE TABLE sightings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    path TEXT NOT NULL,
    executed INTEGER NOT NULL,
    -- Higher ones are asked for first.
    rank INTEGER NOT NULL,
    event TEXT NOT NULL,
    timeMs INTEGER NOT NULL,
    process TEXT,
    -- This device may be asked for the file.
    open INTEGER NOT NULL,
    -- The file is bad, and the detector has not decided the alerts of this device.
    pending INTEGER NOT NULL,
    UNIQUE (device, sha256)
  ) STRICT;
CREATE TABLE sample_site (one INTEGER PRIMARY KEY CHECK (one = 1), pack TEXT, mismatched INTEGER NOT NULL, forgotten INTEGER NOT NULL) STRICT;
CREATE INDEX log_by_device ON log (device, offset);
CREATE INDEX log_by_time ON log (receivedMs);
CREATE INDEX log_by_seq ON log (device, epoch, firstSeq);
CREATE INDEX epochs_by_age ON epochs (device, lastMs);
CREATE INDEX certificates_by_name ON certificates (name, role);
CREATE INDEX alerts_by_time ON alerts (lastMs);
CREATE INDEX alerts_by_change ON alerts (changedMs);
CREATE INDEX alerts_by_device ON alerts (device, status);
CREATE INDEX alerts_by_status ON alerts (status, severity);
CREATE INDEX seen_by_touch ON seen (touched);
CREATE INDEX commands_device ON commands (device, seq);
CREATE INDEX commands_open ON commands (expiresMs) WHERE state IN ('waiting', 'sent');
CREATE INDEX sink_queue_order ON sink_queue (sink, id);
CREATE INDEX sink_told_age ON sink_told (toldMs);
CREATE INDEX mesh_items_by_source ON mesh_items (source, state, pos);
CREATE INDEX mesh_items_waiting ON mesh_items (pos, source, origin, state, hopCount, kind);
CREATE INDEX mesh_alerts_by_time ON mesh_alerts (lastMs);
CREATE INDEX mesh_alerts_by_via ON mesh_alerts (via, receivedMs);
CREATE INDEX mesh_verdicts_by_via ON mesh_verdicts (via, receivedMs);
CREATE INDEX mesh_iocs_by_via ON mesh_iocs (via, receivedMs);
CREATE INDEX samples_here ON samples (state, changedMs, size) WHERE size IS NOT NULL;
CREATE INDEX samples_wanted ON samples (state) WHERE state = 'wanted';
CREATE INDEX sightings_by_hash ON sightings (sha256);
CREATE INDEX sightings_open ON sightings (device, rank DESC, id) WHERE open = 1;
CREATE INDEX sightings_pending ON sightings (id) WHERE pending = 1;
INSERT INTO alerts ("id", "device", "engine", "severity", "revision", "lastMs", "changedMs", "group", "detection", "status", "assignee", "notes") VALUES ('6f1c7a52-9d0e-5f4b-8a3c-0123456789ab', 'gw-1', 'sigma', 'high', 7, 7, 7, 'group-1', '{"id":"6f1c7a52-9d0e-5f4b-8a3c-0123456789ab","site":"yard","device":"gw-1","timeMs":7,"rule":{"id":"r","title":"R","engine":"sigma"},"severity":"high","score":50,"attack":{"tactics":[],"techniques":["T1059"]},"events":[],"tree":[],"summary":"s","count":1,"firstMs":7,"lastMs":7,"revision":0}', 'closed', 'assignee-1', '[]');
INSERT INTO certificates ("serial", "role", "name", "issuedMs", "notAfterMs", "revokedMs") VALUES ('serial-1', 'device', 'name-1', 7, 7, NULL);
INSERT INTO commands ("seq", "jti", "device", "act", "kid", "ctr", "operator", "jws", "state", "createdMs", "expiresMs", "result") VALUES (1, 'jti-1', 'gw-1', 'isolate', 'kid-1', 7, 'operator-1', 'jws-1', 'waiting', 7, 9000000000000, NULL);
INSERT INTO credentials ("id", "operator", "hash", "createdMs", "revokedMs") VALUES (1, 'operator-1', x'68617368', 7, NULL);
INSERT INTO dead_letters ("id", "device", "receivedMs", "topic", "reason", "bytes", "payload") VALUES (1, 'gw-1', 7, 'topic-1', 'reason-1', 3, x'7061796c6f6164');
INSERT INTO detector ("one", "cursor", "read", "refused") VALUES (1, 7, 7, 7);
INSERT INTO devices ("id", "enrolledMs", "trust", "presence", "lastSeenMs", "status", "silentSinceMs", "lostSeen") VALUES ('gw-1', 7, 'enrolled', 'offline', 7, NULL, 7, 7);
INSERT INTO epochs ("device", "epoch", "boot", "firstMs", "lastMs", "stored", "floor", "next", "lostKernel", "lostShed", "lostBuffer", "holes", "intervals") VALUES ('gw-1', 'epoch000', 'boot-1', 7, 7, 5, 7, 7, 7, 7, 7, 7, 7);
INSERT INTO epochs_forgotten ("device", "stored", "lost") VALUES ('gw-1', 7, 7);
INSERT INTO key_lists ("version", "jws", "operator", "putMs") VALUES (1, 'jws-1', 'operator-1', 7);
INSERT INTO log ("offset", "device", "epoch", "firstSeq", "nextSeq", "receivedMs", "count", "bytes", "batch") VALUES (1, 'gw-1', 'epoch000', 0, 5, 7, 5, 6, x'626174636821');
INSERT INTO log_totals ("one", "batches", "events", "bytes") VALUES (1, 1, 5, 6);
INSERT INTO mesh_alerts ("origin", "caHash", "id", "shown", "via", "receivedMs", "device", "severity", "revision", "lastMs", "detection", "status", "assignee", "notes") VALUES ('origin-1', 'caHash-1', 'id-1', 'shown-1', 'via-1', 7, 'gw-1', 'high', 7, 7, '{"id":"6f1c7a52-9d0e-5f4b-8a3c-0123456789ab","site":"yard","device":"gw-1","timeMs":7,"rule":{"id":"r","title":"R","engine":"sigma"},"severity":"high","score":50,"attack":{"tactics":[],"techniques":["T1059"]},"events":[],"tree":[],"summary":"s","count":1,"firstMs":7,"lastMs":7,"revision":0}', 'open', 'assignee-1', '[]');
INSERT INTO mesh_invites ("hash", "operator", "createdMs", "expiresMs") VALUES ('hash-1', 'operator-1', 7, 7);
INSERT INTO mesh_iocs ("origin", "caHash", "kind", "value", "via", "receivedMs", "confidence", "expiresMs", "source", "sharedMs") VALUES ('origin-1', 'caHash-1', 'kind-1', 'value-1', 'via-1', 7, 7, 7, 'source-1', 7);
INSERT INTO mesh_items ("pos", "origin", "caHash", "kind", "id", "revision", "hops", "source", "state", "bytes", "storedMs", "content") VALUES (1, 'origin-1', 'caHash-1', 'kind-1', 'id-1', 7, '["yard"]', 'source-1', 'ready', 7, 7, 'x');
INSERT INTO mesh_peers ("site", "ca", "caHash", "address", "operator", "joinedMs", "leftMs", "muted", "itemsPerS", "limitedBy", "lastSeenMs", "sentPos", "receivedLog", "receivedPos", "sent", "received", "lost") VALUES ('site-1', 'ca-1', 'caHash-1', 'address-1', 'operator-1', 7, NULL, 7, 1.5, 'limitedBy-1', 7, 7, 'receivedLog-1', 7, 7, 7, 7);
INSERT INTO mesh_refused ("peer", "why", "count") VALUES ('peer-1', 'why-1', 7);
INSERT INTO mesh_self ("one", "log", "nextPos") VALUES (1, 'log-1', 7);
INSERT INTO mesh_sites ("site", "caHash", "ca", "via", "introducedMs") VALUES ('site-1', 'caHash-1', 'ca-1', 'via-1', 7);
INSERT INTO mesh_verdicts ("origin", "caHash", "sha256", "via", "receivedMs", "verdict", "rules", "judgedMs") VALUES ('origin-1', 'caHash-1', 'sha256-1', 'via-1', 7, 'verdict-1', 'rules-1', 7);
INSERT INTO received ("device", "epoch", "first", "next") VALUES ('gw-1', 'epoch000', 0, 5);
INSERT INTO sample_site ("one", "pack", "mismatched", "forgotten") VALUES (1, 'pack-1', 7, 7);
INSERT INTO samples ("sha256", "state", "size", "pack", "matches", "error", "bad", "attempts", "changedMs") VALUES ('sha256-1', 'wanted', NULL, 'pack-1', 'matches-1', 'error-1', 7, 7, 7);
INSERT INTO schema_version VALUES ('alerts', 1);
INSERT INTO schema_version VALUES ('commands', 1);
INSERT INTO schema_version VALUES ('credentials', 1);
INSERT INTO schema_version VALUES ('detector', 1);
INSERT INTO schema_version VALUES ('devices', 1);
INSERT INTO schema_version VALUES ('keys', 1);
INSERT INTO schema_version VALUES ('log', 1);
INSERT INTO schema_version VALUES ('mesh', 1);
INSERT INTO schema_version VALUES ('meshLog', 1);
INSERT INTO schema_version VALUES ('meshReceived', 1);
INSERT INTO schema_version VALUES ('received', 3);
INSERT INTO schema_version VALUES ('samples', 1);
INSERT INTO schema_version VALUES ('sinks', 1);
INSERT INTO schema_version VALUES ('tokens', 1);
INSERT INTO seen ("device", "kind", "key", "count", "touched") VALUES ('gw-1', 'kind-1', 'key-1', 7, 7);
INSERT INTO sightings ("id", "device", "sha256", "path", "executed", "rank", "event", "timeMs", "process", "open", "pending") VALUES (1, 'gw-1', 'sha256-1', 'path-1', 7, 7, 'event-1', 7, 'process-1', 7, 7);
INSERT INTO sink_queue ("id", "sink", "message", "payload", "sizeBytes", "queuedMs", "attempts", "nextMs") VALUES (1, 'soc', 'message-1', 'payload-1', 7, 7, 7, 7);
INSERT INTO sink_told ("alert", "rank", "toldMs") VALUES ('alert-1', 7, 7);
INSERT INTO sinks ("name", "queued", "queuedBytes", "delivered", "failed", "dropped", "lastError", "lastDeliveryMs") VALUES ('soc', 7, 7, 7, 7, 7, 'lastError-1', 7);
INSERT INTO tokens ("hash", "createdMs", "expiresMs", "usesLeft") VALUES ('hash-1', 7, 7, 7);
CREATE TRIGGER log_added AFTER INSERT ON log BEGIN
    UPDATE log_totals SET batches = batches + 1, events = events + new.count, bytes = bytes + new.bytes;
  END;
CREATE TRIGGER log_removed AFTER DELETE ON log BEGIN
    UPDATE log_totals SET batches = batches - 1, events = events - old.count, bytes = bytes - old.bytes;
  END;
CREATE TRIGGER sink_queue_in AFTER INSERT ON sink_queue BEGIN
    UPDATE sinks SET queued = queued + 1, queuedBytes = queuedBytes + NEW.sizeBytes WHERE name = NEW.sink;
  END;
CREATE TRIGGER sink_queue_out AFTER DELETE ON sink_queue BEGIN
    UPDATE sinks SET queued = queued - 1, queuedBytes = queuedBytes - OLD.sizeBytes WHERE name = OLD.sink;
  END;
