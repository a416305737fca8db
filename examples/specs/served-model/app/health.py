"""Asks the server in this image whether it is well; exits with 1 when it is not."""

import sys
import urllib.request

port = sys.argv[1] if len(sys.argv) > 1 else "8000"
try:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        print(answer.read().decode())
except OSError as error:
    sys.exit(f"unhealthy: {error}")
