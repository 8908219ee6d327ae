package redisstore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/caddyserver/caddy/v2"
)

// servers holds one server for each target, shared by the stores of the
// process and kept over reloads of the configuration.
var servers = caddy.NewUsagePool()

// server is a Redis with this process's connections to it, which are made when
// they are needed first.
type server struct {
	option     rueidis.ClientOption
	timeout    time.Duration
	cluster    bool
	client     atomic.Pointer[rueidis.Client]
	connecting singleflight.Group
	outage     outage
	// nextRedial is when the connections may be given up again, by clock.
	nextRedial atomic.Int64
}

func newServer(t target, option rueidis.ClientOption) *server {
	s := &server{option: option, timeout: t.Timeout, cluster: t.Cluster, outage: outage{tolerated: toleratedOfServer}}
	if t.Cluster {
		s.outage.tolerated = toleratedOfCluster
	}
	return s
}

// retirement is how long a server that no configuration uses any more goes on
// answering the requests that were under way. None of them needs it longer.
const retirement = 2 * time.Minute

// Destruct closes the connections, later.
func (s *server) Destruct() error {
	time.AfterFunc(retirement, func() {
		if client := s.client.Load(); client != nil {
			(*client).Close()
		}
	})
	return nil
}

// connect returns the connections.
func (s *server) connect(ctx context.Context) (rueidis.Client, error) {
	if client := s.client.Load(); client != nil {
		return *client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	made := s.connecting.DoChan("", func() (made any, err error) {
		defer recoverFromNonsense(&err)
		if client := s.client.Load(); client != nil { // made since it was looked for
			return *client, nil
		}
		client, err := rueidis.NewClient(s.option)
		if err != nil {
			return nil, err
		}
		s.client.Store(&client)
		if !s.cluster {
			go s.watch(client)
		}
		return client, nil
	})
	select {
	case result := <-made:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(rueidis.Client), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errNonsense = errors.New("redis answered what it never does; look at what answers at its address")

// recoverFromNonsense is deferred around calls of the client library, which looks for an
// answer's parts where they ought to be: what is no answer makes it panic.
func recoverFromNonsense(err *error) {
	if recover() != nil {
		*err = errNonsense
	}
}

// drop closes the connections, and the next who needs them makes new ones. The
// library may wait for the end of what is no answer; what else is under way is
// answered, or fails.
func (s *server) drop() {
	if client := s.client.Swap(nil); client != nil {
		go func() {
			var err error
			defer recoverFromNonsense(&err)
			(*client).Close()
		}()
	}
}

// redialInterval is the least time from one redial to the next: each costs what
// the process has kept of the records.
const redialInterval = 5 * time.Second

// redial drops connections to a server that says it is no primary. Where one
// address stands for whoever is the primary, those to the one before live on
// when it is demoted. The nodes of a cluster say themselves who is in their
// place.
func (s *server) redial(now time.Duration, why error) {
	next := s.nextRedial.Load()
	if s.cluster || int64(now) < next || !s.nextRedial.CompareAndSwap(next, int64(now+redialInterval)) {
		return
	}
	s.drop()
	caddy.Log().Named(moduleID).Warn("redis is no primary any more, or not ready; connecting anew", zap.Error(why))
}

// watch asks the server now and then whether it is still the primary, as
// Sentinels and clusters are asked, until the connections are closed. Reads
// alone do not tell, and a replica that has lost its primary does not hear of
// logouts.
func (s *server) watch(client rueidis.Client) {
	ticker := time.NewTicker(topologyInterval)
	defer ticker.Stop()
	for range ticker.C {
		switch replica, err := s.isReplica(client); {
		case errors.Is(err, rueidis.ErrClosing):
			return
		case replica:
			s.redial(clock(), errReplica)
		}
	}
}

func (s *server) isReplica(client rueidis.Client) (replica bool, err error) {
	defer recoverFromNonsense(&err)
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	answer, err := client.Do(ctx, client.B().Role().Build().Pin()).ToArray()
	if err != nil || len(answer) == 0 {
		return false, err
	}
	role, err := answer[0].ToString()
	return namesReplica(role), err
}

var errReplica = errors.New("the server is a replica, which may not know of a logout yet: make it the primary, give the primary's address, or use sentinel")

// namesReplica reports whether a role is a replica's: ROLE has one word for it
// and HELLO the other.
func namesReplica(role string) bool { return role == "slave" || role == "replica" }

// outage remembers that a server does not answer. Requests then fail at once
// in place of waiting for it, and only one now and then looks whether it is
// back, so that those who waited do not all come at the same moment.
type outage struct {
	// failures counts calls without an answer since the last one with one.
	failures atomic.Int32
	// tolerated is how many of them are no outage yet. In a cluster of which one
	// node is away the others' answers come between them, sooner or later.
	tolerated int32
	// next is when somebody looks, by the clock below.
	next atomic.Int64
}

// clock is the time since the process began, which nobody can set back. With
// the time of day nobody would look for as long as it was set back.
func clock() time.Duration { return time.Since(processBegan) }

var processBegan = time.Now()

const (
	toleratedOfServer  = 5
	toleratedOfCluster = 50

	lookInterval = 200 * time.Millisecond
)

var errAway = errors.New("redis has not answered lately; it is asked again a few times a second")

// known reports whether the server is known to be away.
func (o *outage) known() bool { return o.failures.Load() >= o.tolerated }

// look returns errAway, unless this call is to look whether the server is
// back.
func (o *outage) look(now time.Duration) error {
	next := o.next.Load()
	if int64(now) < next || !o.next.CompareAndSwap(next, int64(now+lookInterval)) {
		return errAway
	}
	return nil
}

// answered notes an answer, and reports whether it ended an outage.
func (o *outage) answered() bool {
	return o.failures.Load() > 0 && o.failures.Swap(0) >= o.tolerated
}

// silent notes that no answer came, and reports whether an outage begins.
func (o *outage) silent(now time.Duration) bool {
	failures := o.failures.Add(1)
	if failures == o.tolerated {
		o.next.Store(int64(now + lookInterval))
	}
	return failures == o.tolerated
}
