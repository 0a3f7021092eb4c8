-- Messages for hosts that need a broker, and which queues an exchange of theirs leads to.

CREATE TABLE messages (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  expires_ms INTEGER,
  body TEXT NOT NULL
);
CREATE INDEX messages_of ON messages (queue, priority, number);
CREATE INDEX messages_expiring ON messages (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE bindings (
  exchange TEXT NOT NULL,
  routing_key TEXT NOT NULL,
  pattern TEXT NOT NULL,
  queue TEXT NOT NULL,
  PRIMARY KEY (exchange, routing_key, pattern, queue)
) WITHOUT ROWID;
CREATE INDEX bindings_of ON bindings (queue);
