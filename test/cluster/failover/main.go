// Command failover shows what visitors notice when the primary of a replicated
// Redis dies under traffic: two Caddys with the module, and
//
//	go run ./failover sentinel	a primary, its replica and three Sentinels
//	go run ./failover cluster	a Redis Cluster: three primaries, a replica each
//
// It is run in the directory test/cluster, needs Debian's packages redis-server
// and redis-tools, takes about half a minute, uses loopback addresses only and
// ends what it started.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/cluster"
)

const atMost = 3 * time.Minute

func main() {
	start, ok := map[string]func(cluster.Owner) cluster.Topology{
		"sentinel": cluster.StartSentinel,
		"cluster":  cluster.StartRedisCluster,
	}[append(os.Args, "")[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: go run ./failover sentinel|cluster")
		os.Exit(2)
	}
	if !cluster.RunCommand("failover", atMost, func(o cluster.Owner) { (&failover{Owner: o}).run(start) }) {
		os.Exit(1)
	}
}
