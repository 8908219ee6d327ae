"""A page that shows who is signed in, and what the bank says of the name.

It knows nothing of Caddy or of TrueLayer: the proxy in front of it sets two header
fields. It listens on 127.0.0.1, where nobody else can send it these fields.
"""

import contextlib
import html
import http.server
import os

WORDS = {
    "match": "verified by the bank",
    "no_match": "not the name on the bank account",
    "not_verifiable": "the bank cannot confirm names of this account",
}

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Staff pages</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; font: 1.1rem/1.5 system-ui, sans-serif; }}
main {{ width: min(34rem, 100% - 2rem); margin: 2rem auto; overflow-wrap: anywhere; }}
</style>
<main>
<h1>{name} — {words}</h1>
<p>The bank's word on this name: <code>{word}</code></p>
<form method="post" action="/truelayer/logout"><button>Disconnect the bank</button></form>
</main>
</html>
"""


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        word = self.field("X-Name-Verified")
        page = PAGE.format(
            name=html.escape(self.field("X-Name")),
            words=WORDS.get(word, "not verified yet: try again in a minute"),
            word=html.escape(word),
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def field(self, name):
        """Return a header field, which http.server reads as Latin-1 and Caddy writes as UTF-8."""
        return self.headers.get(name, "").encode("latin-1").decode("utf-8", "replace")

    def log_message(self, *args):
        """Keep names out of the terminal; Caddy has an access log."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Application)
with contextlib.suppress(KeyboardInterrupt):
    server.serve_forever()
