#!/usr/bin/env bash
# The tests with real parts, one package after the other: they start builders and share two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
go test -tags integration -p 1 -count 1 -timeout 40m ./cache ./engine/... ./runner/... ./integration/...
