#!/usr/bin/env python3
"""Takes webhooks of wxgate: verifies, dedupes, does its work once, and answers. Python's standard library alone.

    WEBHOOK_SECRETS=whsec_... LISTEN=127.0.0.1:9000 DATABASE=consumer.db python3 consumer.py

While a secret is changed, name both, separated by a comma. What is yours to write is `effect`.
"""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 300  # how far the sender's clock may be from ours: what is older may be a recording
LIMIT_BYTES = 1 << 20
KEEP_DAYS = 60  # longer than the gateway keeps events (retention.events): nothing older can be replayed

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (message_id TEXT PRIMARY KEY, state TEXT NOT NULL, told INTEGER NOT NULL);
"""


def effect(db, event):
    """Your work, inside the transaction that remembers the event: both are kept, or neither.

    What cannot be rolled back (a mail, a call) belongs into a table here, and is done from there.
    """
    if event["type"].startswith("message."):
        data = event["data"]
        db.execute(
            "INSERT INTO messages VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET state = excluded.state, told = told + 1",
            (data["message_id"], data["state"]),
        )


def keys_of(text):
    """The bytes behind `whsec_` are the key, not their text."""
    secrets = [part.strip() for part in text.split(",") if part.strip()]
    if not secrets or not all(secret.startswith("whsec_") for secret in secrets):
        sys.exit("WEBHOOK_SECRETS has to be whsec_..., or two of them separated by a comma")
    return [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]


def is_ours(keys, headers, body, now):
    """https://www.standardwebhooks.com: any `v1` signature by any of our keys, over id, timestamp and the body as it came."""
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not event_id or not timestamp.isascii() or not timestamp.isdigit() or abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    right = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in keys]
    given = [part[3:].encode() for part in headers.get("webhook-signature", "").split(" ") if part.startswith("v1,")]
    # Every pair is compared, each in constant time.
    return any([hmac.compare_digest(one, other) for one in right for other in given])


def take(database, event):
    """→ whether it was new."""
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            row = db.execute("INSERT INTO seen VALUES (?, ?) ON CONFLICT DO NOTHING", (event["id"], int(time.time())))
            is_new = row.rowcount == 1
            if is_new:
                effect(db, event)
            db.execute("COMMIT")
            return is_new
        except BaseException:
            db.execute("ROLLBACK")
            raise


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the gateway keeps its connection
    timeout = 30

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > LIMIT_BYTES:
            self.close_connection = True
            return self.answer(413 if length.isdigit() else 411)
        body = self.rfile.read(int(length))
        if not is_ours(self.server.keys, self.headers, body, time.time()):
            return self.answer(401)
        event = json.loads(body)
        if event["id"] != self.headers["webhook-id"]:
            return self.answer(400)
        if event["type"] == "webhook.test":
            return self.answer(204)
        try:
            is_new = take(self.server.database, event)
        except Exception as error:  # anything but 2xx: the gateway comes again
            print(f"{event['id']} {event['type']}: {error!r}", file=sys.stderr, flush=True)
            return self.answer(500)
        print(f"{event['id']} {event['type']}{'' if is_new else ' (again)'}", file=sys.stderr, flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    host, _, port = os.environ.get("LISTEN", "127.0.0.1:9000").rpartition(":")
    database = os.environ.get("DATABASE", "consumer.db")
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        db.execute("DELETE FROM seen WHERE at < ?", (int(time.time()) - KEEP_DAYS * 86400,))
        db.commit()
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.keys, server.database = keys_of(os.environ.get("WEBHOOK_SECRETS", "")), database
    print(f"http://{host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
