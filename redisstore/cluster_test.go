package redisstore

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// TestFailoverInCluster: the nodes say who has taken over from whom, and the
// demoted one is asked nothing any more.
func TestFailoverInCluster(t *testing.T) {
	primary, replica := startCluster(t)
	id := nodeID(t, primary)
	eventually(t, "the nodes to meet", func() bool {
		answer, err := replica.Do("CLUSTER", "REPLICATE", id)
		return err == nil && answer == "+OK"
	})
	eventually(t, "the replica to be known", func() bool {
		nodes, err := primary.Do("CLUSTER", "NODES")
		return err == nil && strings.Contains(nodes, " slave "+id+" ") && replica.Stats("replication")["master_link_status"] == "up"
	})
	s := openCluster(t, primary, replica)
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	wantBack(t, s, "id")
	caughtUp(t, primary, replica)
	eventually(t, "the failover", func() bool {
		_, err := replica.Do("CLUSTER", "FAILOVER")
		return err == nil && replica.Stats("replication")["role"] == "master"
	})
	eventually(t, "a write", func() bool {
		if record, err := s.Get(t.Context(), "id"); err == nil && string(record) != "record" || err != nil && !failed(err) {
			t.Fatalf("got %q, %v", record, err)
		}
		return s.Create(t.Context(), "new", []byte("record"), time.Hour) == nil
	})
	wantBack(t, s, "id")
	if answer, err := replica.Do("EXISTS", s.key("new")); err != nil || answer != ":1" {
		t.Errorf("the new primary does not have it: %s, %v", answer, err)
	}
	// the process goes on being told of what it keeps
	for range 3 {
		if _, err := s.Get(t.Context(), "id"); err != nil {
			t.Fatal(err)
		}
	}
	if err := openCluster(t, replica).Delete(t.Context(), "id"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the logout to hold", func() bool {
		_, err := s.Get(t.Context(), "id")
		return errors.Is(err, fs.ErrNotExist)
	})
}

// TestSlotOnTheMove: a record of a slot that a cluster is moving is read where
// it is, and kept nowhere: the server does not say there when it changes.
func TestSlotOnTheMove(t *testing.T) {
	from, to := startCluster(t)
	s := openCluster(t, from, to)
	answer, err := from.Do("CLUSTER", "KEYSLOT", s.key("id"))
	if err != nil {
		t.Fatal(err)
	}
	slot := strings.TrimPrefix(answer, ":")
	eventually(t, "the nodes to know each other", func() bool {
		a, errA := from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", nodeID(t, to))
		b, errB := to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", nodeID(t, from))
		return errors.Join(errA, errB) == nil && a == "+OK" && b == "+OK"
	})
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if record, err := s.Get(t.Context(), "id"); err != nil || string(record) != "record" {
			t.Fatalf("got %q, %v", record, err)
		}
	}
	if err := openCluster(t, from).Delete(t.Context(), "id"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "id"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
}

// startCluster starts a cluster of a node with all slots and one with none.
func startCluster(t *testing.T) (full, empty *redisserver.Server) {
	t.Helper()
	node := func() (node *redisserver.Server, bus string) {
		port, err := loopback.Port()
		if err != nil {
			t.Fatal(err)
		}
		bus = strconv.Itoa(port)
		return redisserver.Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", bus,
			"--repl-diskless-sync-delay", "0"), bus
	}
	full, _ = node()
	empty, bus := node()
	full.Must("+OK", "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	full.Must("+OK", "CLUSTER", "MEET", "127.0.0.1", empty.Port(), bus)
	restrict(full, empty)
	for _, node := range []*redisserver.Server{full, empty} {
		eventually(t, "the cluster", func() bool {
			info, err := node.Do("CLUSTER", "INFO")
			return err == nil && strings.Contains(info, "cluster_state:ok\r\n") && strings.Contains(info, "cluster_known_nodes:2\r\n")
		})
	}
	return full, empty
}

func nodeID(t *testing.T, node *redisserver.Server) string {
	t.Helper()
	id, err := node.Do("CLUSTER", "MYID")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// openCluster opens a store with no more rights than the documentation says.
func openCluster(t *testing.T, nodes ...*redisserver.Server) *Store {
	t.Helper()
	s := &Store{Cluster: true, Username: "caddy", Password: new("hunter2"), Timeout: caddy.Duration(10 * time.Second)}
	for _, node := range nodes {
		s.Address = append(s.Address, node.Address)
	}
	return open(t, s)
}
