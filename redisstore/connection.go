package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
)

var (
	errUnasked = errors.New("an answer that nobody asked for")
	errPush    = errors.New("a push message where Redis sends none")
	errReplica = errors.New("the server is a replica, which may not know of a logout yet: make it the primary, give the primary's address, or use sentinel")
)

// dial returns how the library connects: as it does by itself, and behind what
// keeps answers from it that it cannot survive, and replicas' unless it is a
// cluster: there they are asked where the keys are.
func dial(caching, cluster bool) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		var conn net.Conn
		var err error
		if config != nil {
			conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
		} else {
			conn, err = dialer.DialContext(ctx, "tcp", address)
		}
		if err != nil {
			return nil, err
		}
		return newConnection(conn, caching, cluster), nil
	}
}

// connection is a connection whose Read fails before it returns what is no
// answer, or more answers than there were commands: those end the process from
// within the library. So it does if the server calls itself a replica. It then
// goes on failing, and the library closes it.
//
// The library reads in one goroutine at a time, and writes in one.
type connection struct {
	net.Conn
	requests, answers framing
	commands          commands
	replies           replies
	refused           error
}

func newConnection(conn net.Conn, caching, cluster bool) *connection {
	c := &connection{Conn: conn}
	c.replies.commands, c.replies.caching, c.replies.cluster = &c.commands, caching, cluster
	c.requests.rules, c.answers.rules = &c.commands, &c.replies
	return c
}

func (c *connection) Write(b []byte) (int, error) {
	if _, err := c.requests.follow(b); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *connection) Read(b []byte) (int, error) {
	if c.refused != nil {
		return 0, c.refused
	}
	if c.replies.handshake == 0 {
		c.replies.handshake = c.commands.sent.Load()
	}
	n, err := c.Conn.Read(b)
	if n, c.refused = c.answers.follow(b[:n]); c.refused != nil {
		return n, c.refused
	}
	return n, err
}

// commands counts what is sent.
type commands struct {
	sent atomic.Int64
	// subscribed is set on a connection to a Sentinel. SUBSCRIBE and UNSUBSCRIBE
	// are answered by a push for each channel, or by one error, and there the
	// answers are not counted: what a Sentinel says can end the process in
	// other ways, since the library cuts its words apart without counting them.
	subscribed atomic.Bool
}

func (c *commands) begins(*framing) error {
	c.sent.Add(1)
	return nil
}

func (c *commands) element(f *framing, index int) error {
	if index == 0 && strings.HasSuffix(f.word(), "SUBSCRIBE") {
		c.subscribed.Store(true)
	}
	return nil
}

func (*commands) ends() {}

// replies counts what answers commands, as the library does: messages other
// than pushes, one for each.
//
// Redis 6 sends what it has to say of a key that it finds expired in the middle
// of EXEC's answer, which ends that many elements too early
// (https://github.com/redis/redis/issues/8935). The library takes the messages
// behind it for the missing elements, if the server has called itself version 6
// and the connection is ready.
type replies struct {
	commands         *commands
	caching, cluster bool
	handshake        int64 // how many commands make the connection ready

	came     int64
	current  role
	pushes   int    // in the message under way
	owed     int    // messages that are elements of the one before
	name     string // of HELLO's element whose value is next
	version6 bool
}

type role uint8

const (
	reply role = iota
	push
	element
)

func (r *replies) begins(f *framing) error {
	switch {
	case f.depth > 0: // a push inside of another message
		if !r.version6 || !r.caching || f.depth > 1 || r.current != reply || r.came <= r.handshake {
			return errPush
		}
		r.pushes++
	case r.owed > 0:
		r.owed--
		r.current = element
	case f.kind == '>':
		r.current = push
	case r.came == r.commands.sent.Load() && !r.commands.subscribed.Load():
		return errUnasked
	default:
		r.came++
		r.current = reply
	}
	return nil
}

func (r *replies) element(f *framing, index int) error {
	word := f.word()
	switch {
	case f.open[0].kind == '>':
		// the library takes these for the answer to the command that is next
		if index == 0 && !r.commands.subscribed.Load() &&
			(word == "subscribe" || word == "psubscribe" || word == "ssubscribe") {
			return errPush
		}
	case r.came != 1 || r.current != reply: // not HELLO's
	case index%2 == 0:
		r.name = word
	case r.name == "version":
		r.version6 = word == "6" || strings.HasPrefix(word, "6.")
	case r.name == "role" && namesReplica(word) && !r.cluster:
		return errReplica
	}
	return nil
}

func (r *replies) ends() {
	if r.current == reply {
		r.owed, r.pushes = r.pushes, 0
	}
}

// Interface guards
var (
	_ net.Conn = (*connection)(nil)
	_ rules    = (*commands)(nil)
	_ rules    = (*replies)(nil)
)
