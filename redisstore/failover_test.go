package redisstore

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// failover is a primary, its replica, and an address that stands for whichever of
// them is the primary.
type failover struct {
	primary, replica *redisserver.Server
	address          *loopback.Relay
}

func startFailover(t *testing.T, arguments ...string) *failover {
	t.Helper()
	arguments = append(arguments, "--repl-diskless-sync-delay", "0")
	primary := redisserver.Start(t, arguments...)
	replica := redisserver.StartReplica(t, primary, arguments...)
	eventually(t, "the replica", func() bool { return replica.Stats("replication")["master_link_status"] == "up" })
	return &failover{primary, replica, loopback.NewRelay(t, primary.Address)}
}

// happen makes the replica the primary. The old one has what it had, since it
// is told to follow a server that is not there, and keeps its connections.
func (f *failover) happen(t *testing.T) {
	t.Helper()
	caughtUp(t, f.primary, f.replica)
	nowhere, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	f.replica.Must("+OK", "REPLICAOF", "NO", "ONE")
	f.primary.Must("+OK", "REPLICAOF", "127.0.0.1", strconv.Itoa(nowhere))
	f.address.To(f.replica.Address)
}

// caughtUp waits until a replica has all that its primary has.
func caughtUp(t *testing.T, primary, replica *redisserver.Server) {
	t.Helper()
	eventually(t, "the replica", func() bool {
		return replica.Stats("replication")["slave_repl_offset"] == primary.Stats("replication")["master_repl_offset"]
	})
}

// failed checks that an error says the store failed, in no other way.
func failed(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) && !errors.Is(err, truelayer.ErrConflict)
}

// TestFailoverBehindAddress: the first answer of a demoted primary that says so
// ends the connection to it, whatever was asked, and with it what it still has
// of sessions that were ended. The new one is asked again: nothing was done.
func TestFailoverBehindAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arguments []string
		ask       func(*testing.T, *Store) error
	}{
		"create": {nil, func(t *testing.T, s *Store) error { return s.Create(t.Context(), "new", []byte("x"), time.Hour) }},
		"replace": {nil, func(t *testing.T, s *Store) error {
			return s.Replace(t.Context(), "id", []byte("record"), []byte("record"), time.Hour)
		}},
		"delete": {nil, func(t *testing.T, s *Store) error { return s.Delete(t.Context(), "not kept") }},
		"lock": {nil, func(t *testing.T, s *Store) error {
			unlock, err := s.Lock(t.Context(), "id")
			if err == nil {
				unlock()
			}
			return err
		}},
		"nothing": {nil, func(t *testing.T, s *Store) error {
			eventually(t, "the store to look", func() bool { return s.server.client.Load() == nil })
			return nil
		}},
		"get": {[]string{"--replica-serve-stale-data", "no"}, func(t *testing.T, s *Store) error {
			_, err := s.Get(t.Context(), "not kept")
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFailover(t, c.arguments...)
			s := open(t, &Store{Address: []string{f.address.Address}, Timeout: caddy.Duration(10 * time.Second)})
			for _, id := range []string{"id", "ended", "not kept"} {
				if err := s.Create(t.Context(), id, []byte("record"), time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range []string{"id", "ended"} {
				if _, err := s.Get(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			f.happen(t)
			other := open(t, &Store{Address: []string{f.replica.Address}})
			if err := other.Delete(t.Context(), "ended"); err != nil {
				t.Fatal(err)
			}
			if err := c.ask(t, s); err != nil {
				t.Fatalf("the demoted primary was not left: %v", err)
			}
			if record, err := s.Get(t.Context(), "ended"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a session that was ended goes on: %q, %v", record, err)
			}
			if err := s.Create(t.Context(), "another", []byte("record"), time.Hour); err != nil {
				t.Errorf("create: %v", err)
			}
			wantBack(t, s, "id")
			if n := f.address.Opened(); n != 2 {
				t.Errorf("it took %d connections", n)
			}
		})
	}
}

// TestReplicaAtTheAddress: a server that is a replica is not asked for
// anything, by mistake or because it is not promoted yet, nor dialled for each
// request.
func TestReplicaAtTheAddress(t *testing.T) {
	for name, cacheSize := range map[string]int{"cached": defaultCacheSize, "without cache": 0} {
		f := startFailover(t)
		f.address.To(f.replica.Address)
		s := open(t, &Store{Address: []string{f.address.Address}, CacheSize: &cacheSize})
		began := time.Now()
		for i := range 1000 {
			if _, err := s.Get(t.Context(), "id"); !failed(err) || (i == 0 && !errors.Is(err, errReplica)) {
				t.Fatalf("%s: got error %v, want %v", name, err, errReplica)
			}
		}
		if n, most := f.address.Opened(), 2*serverOutageThreshold+2*int(time.Since(began)/probeInterval+1); n > most {
			t.Errorf("%s: %d connections for 1000 requests", name, n)
		}
		f.replica.Must("+OK", "REPLICAOF", "NO", "ONE")
		eventually(t, "the promoted replica", func() bool { return s.Create(t.Context(), "id", []byte("record"), time.Hour) == nil })
		wantBack(t, s, "id")
	}
}

// TestRoles: a replica is accepted in a cluster only, by either of its names.
func TestRoles(t *testing.T) {
	for role, want := range map[string]error{"master": nil, "sentinel": nil, "replica": errReplica, "slave": errReplica} {
		if err := (target{}).checkRole(role); !errors.Is(err, want) {
			t.Errorf("%s: got error %v, want %v", role, err, want)
		}
		if err := (target{Cluster: true}).checkRole(role); err != nil {
			t.Errorf("%s in a cluster: got error %v", role, err)
		}
	}
}

// TestRedial: which answers of a server that calls itself a primary end the
// connection, and how often.
func TestRedial(t *testing.T) {
	redis := redisserver.Start(t)
	for answer, again := range map[string]bool{
		"-READONLY You can't write against a read only replica.":                                                                                true,
		"-READONLY You can't write against a read only replica. script: 2a30b5, on @user_script:4.":                                             true,
		"-ERR Error running script (call to f_2a30b5): @user_script:4: @user_script: 4: -READONLY You can't write against a read only replica.": true,
		"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                                                     true,
		"-LOADING Redis is loading the dataset in memory":                                                                                       true,
		"-NOREPLICAS Not enough good replicas to write.":                                                                                        false,
		"-CLUSTERDOWN The cluster is down":                                                                                                      false,
		"-ERR Error running script: : -READONLY":                                                                                                true,
	} {
		i := startImpostor(t, lies{hello: hello("7.0.0"), get: answer + "\r\n"}, redis)
		s := open(t, &Store{Address: []string{i.address}, CacheSize: new(0)})
		const asked = 100
		began := time.Now()
		for range asked {
			if _, err := s.Get(t.Context(), "id"); !failed(err) {
				t.Fatalf("%s: %v", answer, err)
			}
		}
		most := 1
		if again {
			most += 1 + int(time.Since(began)/redialInterval)
		}
		if n := int(i.connections.Load()); n > most || (n == 1) == again {
			t.Errorf("%s: %d connections for %d requests", answer, n, asked)
		}
	}
	s := &server{cluster: true}
	if s.redial(time.Hour, errReplica); s.nextRedial.Load() != 0 {
		t.Error("a cluster's connections are given up")
	}
}

// TestRequestsUnderWay: what is asked while the connection is given up is
// answered or fails, and is never taken for the end of a session.
func TestRequestsUnderWay(t *testing.T) {
	f := startFailover(t)
	s := open(t, &Store{Address: []string{f.address.Address}})
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	readers := make(chan error)
	for range 10 {
		go func() {
			for {
				record, err := s.Get(t.Context(), "id")
				switch {
				case err != nil && !failed(err), err == nil && string(record) != "record":
					readers <- errors.Join(errors.New("a reader got "+string(record)), err)
					return
				}
				select {
				case <-ended:
					readers <- nil
					return
				default:
				}
			}
		}()
	}
	f.happen(t)
	eventually(t, "a write", func() bool { return s.Create(t.Context(), "new", []byte("record"), time.Hour) == nil })
	close(ended)
	for range 10 {
		if err := <-readers; err != nil {
			t.Error(err)
		}
	}
	wantBack(t, s, "id")
}

// TestFailoverOfSentinel: the store follows what the Sentinels say, and also
// finds another primary behind the address that they go on naming.
func TestFailoverOfSentinel(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]bool{"another address": false, "the same address": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFailover(t)
			named := f.primary.Address
			if behind {
				named = f.address.Address
			}
			sentinel := redisserver.StartSentinel(t, "main", named)
			eventually(t, "the Sentinel to know the replica", func() bool {
				return strings.Contains(sentinel.Stats("sentinel")["master0"], "status=ok") &&
					strings.Contains(sentinel.Stats("sentinel")["master0"], "slaves=1")
			})
			restrict(f.primary, f.replica)
			s := open(t, &Store{
				Address: []string{sentinel.Address}, Sentinel: &Sentinel{Master: "main"},
				Username: "caddy", Password: new("hunter2"), Timeout: caddy.Duration(10 * time.Second),
			})
			if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
				t.Fatal(err)
			}
			wantBack(t, s, "id")
			caughtUp(t, f.primary, f.replica)
			if behind {
				f.happen(t)
			} else {
				eventually(t, "the Sentinel to be ready", func() bool {
					answer, err := sentinel.Do("SENTINEL", "FAILOVER", "main")
					return err == nil && answer == "+OK"
				})
			}
			eventually(t, "the other primary", func() bool {
				if _, err := s.Get(t.Context(), "id"); errors.Is(err, fs.ErrNotExist) {
					t.Fatal("the record is gone")
				}
				err := s.Create(t.Context(), "new", []byte("record"), time.Hour)
				if errors.Is(err, fs.ErrExist) { // the demoted primary's last
					err = s.Delete(t.Context(), "new")
				}
				if err != nil {
					return false
				}
				answer, err := f.replica.Do("EXISTS", s.key("new"))
				return err == nil && answer == ":1" && f.replica.Stats("replication")["role"] == "master"
			})
			wantBack(t, s, "id")
		})
	}
}
