"""Ask the gateway of this container how it is: ``healthcheck.py [/healthz|/readyz]``; status 0 for HTTP 200.

On its own and without dependencies, so that it starts in a few milliseconds and the image needs no curl. Not by
urllib, which a proxy variable of the environment would send elsewhere.
"""

import http.client
import os
import sys

TIMEOUT_S = 3

path = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
connection = http.client.HTTPConnection(
    "127.0.0.1", int(os.environ.get("GATEWAY_HTTP_PORT") or "8080"), timeout=TIMEOUT_S
)
try:
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.read(2000).decode(errors="replace")
except (OSError, http.client.HTTPException) as exc:
    sys.exit(f"{path}: {exc}")
# Docker keeps the last answers: `docker inspect --format '{{json .State.Health}}'`.
sys.stdout.write(f"{response.status} {answer}\n")
sys.exit(response.status != 200)
