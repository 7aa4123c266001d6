"""The metadata service of a host on AWS, as far as a role's keys go, by IMDSv2 alone. For a lab host; its input is the key."""

from __future__ import annotations

import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = ("169.254.169.254", 80)
KEYS = "/latest/meta-data/iam/security-credentials/"
TOKEN = secrets.token_hex(16)
# Without the token nothing is told: so a host answers that requires IMDSv2.
LOG = "/run/metadata-service.log"


def main() -> None:
    """Serve until the end."""
    key = json.load(sys.stdin)
    answer = {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": key["access_key"],
        "SecretAccessKey": key["secret_key"],
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": "2099-01-01T00:00:00Z",
    }

    class Handler(BaseHTTPRequestHandler):
        def say(self, status: int, text: str) -> None:
            with open(LOG, "a") as log:  # noqa: PTH123
                log.write(f"{status} {self.command} {self.path}\n")
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
            self.end_headers()
            self.wfile.write(text.encode())

        def do_PUT(self) -> None:
            good = self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
            self.say(200 if good else 400, TOKEN if good else "")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                self.say(401, "")
            elif self.path == KEYS:
                self.say(200, "orchard-glue")
            elif self.path == KEYS + "orchard-glue":
                # AWS gives a token with each key of a role; the lab's store refuses whatever has one. botocore then wants to
                # hear that there is none, and the SDK for Java must not hear of it at all.
                no_token = {} if "java" in self.headers.get("User-Agent", "").lower() else {"Token": None}
                self.say(200, json.dumps({**answer, **no_token}))
            else:
                self.say(404, "")

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    ThreadingHTTPServer(ADDRESS, Handler).serve_forever()


if __name__ == "__main__":
    main()
