#!/bin/sh
# packaging/notes.sh <version> [changelog] prints what CHANGELOG.md says of a version, for the notes of its release.
set -eu
cd "$(dirname "$0")/.."
awk -v version="${1:?the version is missing, for example 1.0.0}" '
	/^## / { inside = $2 == version; next }
	inside && (started || NF) { started = 1; print }
	END {
		if (!started) {
			print "CHANGELOG.md has no section for " version | "cat >&2"
			exit 1
		}
	}
' "${2:-CHANGELOG.md}"
