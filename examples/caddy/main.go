// Command caddy is Caddy with this module compiled in: what xcaddy would build.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
)

func main() { caddycmd.Main() }
