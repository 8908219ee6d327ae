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

// loggerName is the module's, as the logger of a Caddy context has it. The module itself
// spells its id out, since Caddy's website reads it from the source.
const loggerName = "http.truelayer.token_stores.redis"

// servers holds one server for each target. The stores of the process share it,
// and it is kept across reloads of the configuration.
var servers = caddy.NewUsagePool()

// server is a Redis server, or a cluster, with this process's client for it. The
// client is made when it is first needed.
type server struct {
	option     rueidis.ClientOption
	timeout    time.Duration
	cluster    bool
	client     atomic.Pointer[rueidis.Client]
	connecting singleflight.Group
	outage     outage
	// nextRedial is when redial may drop the client again, by clock.
	nextRedial atomic.Int64
}

func newServer(t target, option rueidis.ClientOption) *server {
	s := &server{option: option, timeout: t.Timeout, cluster: t.Cluster, outage: outage{threshold: serverOutageThreshold}}
	if t.Cluster {
		s.outage.threshold = clusterOutageThreshold
	}
	return s
}

// closeDelay is how long the client stays open after the last configuration that
// used it. No request that is still running needs it for longer.
const closeDelay = 2 * time.Minute

// Destruct closes the client after closeDelay.
func (s *server) Destruct() error {
	time.AfterFunc(closeDelay, func() {
		if client := s.client.Load(); client != nil {
			(*client).Close()
		}
	})
	return nil
}

// connect returns the client, and makes it if there is none.
func (s *server) connect(ctx context.Context) (rueidis.Client, error) {
	if client := s.client.Load(); client != nil {
		return *client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	made := s.connecting.DoChan("", func() (made any, err error) {
		defer recoverFromPanic(&err)
		if client := s.client.Load(); client != nil { // made since the check above
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

// recoverFromPanic is deferred around calls of the client library. The library
// takes answers apart without checking their form, so a malformed one makes it
// panic.
func recoverFromPanic(err *error) {
	if recover() != nil {
		*err = errBadAnswer
	}
}

// drop closes the client. The next call of connect makes a new one. Closing runs
// in the background because the library may wait for the end of a malformed
// answer.
func (s *server) drop() {
	if client := s.client.Swap(nil); client != nil {
		go func() {
			var err error
			defer recoverFromPanic(&err)
			(*client).Close()
		}()
	}
}

// redialInterval is the shortest time between two redials. Each one empties the
// cache.
const redialInterval = 5 * time.Second

// redial drops the client of a server that is not the primary. If an address
// always leads to the current primary, connections to a demoted one would
// otherwise stay open. In a cluster it does nothing: the nodes themselves name
// the new primary.
func (s *server) redial(now time.Duration, why error) {
	next := s.nextRedial.Load()
	if s.cluster || int64(now) < next || !s.nextRedial.CompareAndSwap(next, int64(now+redialInterval)) {
		return
	}
	s.drop()
	caddy.Log().Named(loggerName).Warn("redis is no longer the primary, or not ready; reconnecting", zap.Error(why))
}

// watch checks periodically whether the server is still the primary, until the
// client is closed. A process that only reads would not notice a demotion, and a
// replica that has lost its primary does not learn of logouts.
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
	defer recoverFromPanic(&err)
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	answer, err := client.Do(ctx, client.B().Role().Build().Pin()).ToArray()
	if err != nil || len(answer) == 0 {
		return false, err
	}
	role, err := answer[0].ToString()
	return isReplicaRole(role), err
}

// outage is a circuit breaker. After threshold failures, calls fail at once
// instead of waiting for the server. Only one call in each probeInterval probes
// whether the server is back.
type outage struct {
	// failures counts the calls without an answer since the last answer.
	failures atomic.Int32
	// threshold is how many failures make an outage.
	threshold int32
	// next is when the next call may probe, by clock.
	next atomic.Int64
}

// clock returns the time since the process started. Unlike the time of day, it
// cannot be set back, which would delay the next probe.
func clock() time.Duration { return time.Since(processStart) }

var processStart = time.Now()

const (
	serverOutageThreshold = 5
	// clusterOutageThreshold is higher because a single node may be down. The
	// answers of the other nodes then reset the count sooner or later.
	clusterOutageThreshold = 50

	probeInterval = 200 * time.Millisecond
)

var errDown = errors.New("redis has not answered recently; it is tried again several times a second")

// active reports whether there is an outage.
func (o *outage) active() bool { return o.failures.Load() >= o.threshold }

// probe returns errDown, or nil if this call should probe whether the server is
// back.
func (o *outage) probe(now time.Duration) error {
	next := o.next.Load()
	if int64(now) < next || !o.next.CompareAndSwap(next, int64(now+probeInterval)) {
		return errDown
	}
	return nil
}

// recordAnswer records an answer, and reports whether it ended an outage.
func (o *outage) recordAnswer() bool {
	return o.failures.Load() > 0 && o.failures.Swap(0) >= o.threshold
}

// recordFailure records a call without an answer, and reports whether it began an
// outage.
func (o *outage) recordFailure(now time.Duration) bool {
	failures := o.failures.Add(1)
	if failures == o.threshold {
		o.next.Store(int64(now + probeInterval))
	}
	return failures == o.threshold
}
