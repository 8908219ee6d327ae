// Command caddy is Caddy with this module compiled in, as xcaddy would build it.
// The last import adds the Redis store. Remove it if you do not use that store.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	_ "github.com/caddy-truelayer/caddy-truelayer/redisstore"
)

func main() { caddycmd.Main() }
