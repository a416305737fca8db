#!/usr/bin/env bash
# Static analysis. The linter is built from its own module and cached by Go.
set -euo pipefail
cd "$(dirname "$0")/.."
exec go tool -modfile integration/lint/go.mod staticcheck ./...
