#!/bin/sh
# Runs after the package was installed or removed: systemd reads the drop-in again. Caddy goes on as it is until
# the operator restarts it, since a restart ends the sessions of `store memory`.
set -eu
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
