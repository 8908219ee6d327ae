// Command caddy is Caddy with this module compiled in: what xcaddy would build.
// The last line adds the Redis store; leave it out if you do not use it.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	_ "github.com/caddy-truelayer/caddy-truelayer/redisstore"
)

func main() { caddycmd.Main() }
