package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Topology is several Redis servers, of which one can be lost.
type Topology struct {
	Primary *Redis // one to kill
	Store   string // as it stands in a Caddyfile behind "store"
}

// PrimaryName is what the Sentinels call the primary.
const PrimaryName = "truelayer"

// StartSentinel starts a primary, its replica, and three Sentinels that
// replace a primary which has been silent for two seconds.
func StartSentinel(o Owner) Topology {
	o.Helper()
	primary := NewRedis(o)
	primary.Start()
	replica := NewRedis(o, "--replicaof", "127.0.0.1", strconv.Itoa(primary.Port))
	replica.Start()
	Await(o, "the replica", primary.hasReplica)
	var sentinels [3]*Redis
	addresses := make([]string, len(sentinels))
	for i := range sentinels {
		sentinels[i] = startSentinel(o, primary)
		addresses[i] = sentinels[i].Address()
	}
	for _, sentinel := range sentinels {
		Await(o, "the Sentinels to know each other and the replica", func() bool {
			return strings.HasPrefix(sentinel.command("SENTINEL CKQUORUM "+PrimaryName), "+OK 3 ") &&
				sentinel.command("SENTINEL REPLICAS "+PrimaryName) == "*1"
		})
	}
	return Topology{primary, fmt.Sprintf("redis {\n\t\t\taddress %s\n\t\t\tsentinel %s\n\t\t}", strings.Join(addresses, " "), PrimaryName)}
}

// startSentinel starts a Sentinel. It keeps what it learns in its
// configuration file, so it wants one.
func startSentinel(o Owner, primary *Redis) *Redis {
	o.Helper()
	file := o.TempDir() + "/sentinel.conf"
	text := fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]d 2
sentinel down-after-milliseconds %[1]s 2000
sentinel failover-timeout %[1]s 10000
`, PrimaryName, primary.Port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.Fatalf("%v", err)
	}
	sentinel := newRedis(o, file, "--sentinel")
	sentinel.Start()
	return sentinel
}

// StartRedisCluster starts a Redis Cluster of three primaries with a replica
// each. A node that has been silent for two seconds is replaced.
func StartRedisCluster(o Owner) Topology {
	o.Helper()
	var nodes [6]*Redis
	for i := range nodes {
		nodes[i] = NewRedis(o, clusterArguments(o)...)
	}
	store := joinCluster(o, nodes[:], 1)
	for _, primary := range nodes[:3] { // redis-cli takes the first half of them
		Await(o, "a primary's replica", primary.hasReplica)
	}
	return Topology{nodes[0], store}
}

// StartShards starts a Redis Cluster of primaries only, which keep nothing on disk. The store
// is as it stands in a Caddyfile behind "store".
func StartShards(o Owner, primaries int) (shards []*Redis, store string) {
	o.Helper()
	shards = make([]*Redis, primaries)
	for i := range shards {
		shards[i] = newRedis(o, append([]string{"--save", "", "--appendonly", "no"}, clusterArguments(o)...)...)
	}
	return shards, joinCluster(o, shards, 0)
}

func clusterArguments(o Owner) []string {
	return []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", strconv.Itoa(freePort(o))}
}

// joinCluster starts servers and makes a cluster of them.
func joinCluster(o Owner, nodes []*Redis, replicas int) (store string) {
	o.Helper()
	addresses := make([]string, len(nodes))
	for i, node := range nodes {
		node.Start()
		addresses[i] = node.Address()
	}
	arguments := append([]string{"--cluster", "create"}, addresses...)
	arguments = append(arguments, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	create := exec.CommandContext(o.Context(), "redis-cli", arguments...) //nolint:gosec // a program of the tests' own
	if output, err := create.CombinedOutput(); err != nil {
		o.Fatalf("redis-cli --cluster create: %v\n%s", err, output)
	}
	for _, node := range nodes {
		Await(o, "the cluster", func() bool { return node.command("CLUSTER INFO") == "cluster_state:ok" })
	}
	return fmt.Sprintf("redis {\n\t\t\taddress %s\n\t\t\tcluster\n\t\t}", strings.Join(addresses, " "))
}
