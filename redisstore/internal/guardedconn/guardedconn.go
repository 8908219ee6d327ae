// Package guardedconn wraps connections to Redis so that a hostile or broken
// answer ends the connection and not the process.
//
// The client library, rueidis (v1.0.79), trusts what it reads. It reads in
// goroutines of its own, where nobody can recover from a panic, and a process
// that runs out of memory or stack cannot recover anywhere:
//
//   - readB and readA allocate whatever length an answer announces, and
//     readBlobString does so for each chunk. A negative length panics, a huge
//     one takes the memory.
//   - readS reads a line of any length, and readNextMessage calls itself once
//     for each level of nesting.
//   - readNull and readBoolean skip the rest of the line without looking at it.
//   - (*pipe)._backgroundRead panics over an answer that no command is waiting
//     for, and takes the confirmation of a subscription for such an answer.
//   - (*RedisError).IsMoved and IsAsk take the third word of an error that
//     begins with MOVED or ASK, and panic if it has fewer.
//
// A guarded connection follows the protocol in both directions. Its Read fails
// before it returns any of these.
//
// The guard does not cover rueidis' code for Sentinel: listWatch cuts what a
// Sentinel publishes into words, and panics if there are too few. Only TLS
// keeps others from answering in a Sentinel's place.
//
// The package can be deleted when rueidis bounds lengths, counts, lines and
// nesting, and closes the connection where it panics now. TestImpostor of
// package redisstore then passes without it. The check of the server's role
// needs another place then.
package guardedconn

import (
	"context"
	"crypto/tls"
	"net"
)

// Dialer returns a function for rueidis' option DialCtxFn, which connects as
// rueidis does by itself and guards the connection. Caching says that rueidis
// keeps what it reads: without that, Redis sends no push message in the middle
// of an answer. CheckRole is called with the role that the server gives itself
// in its answer to HELLO. An error from it ends the connection.
func Dialer(caching bool, checkRole func(role string) error) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		var c net.Conn
		var err error
		if config != nil {
			c, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
		} else {
			c, err = dialer.DialContext(ctx, "tcp", address)
		}
		if err != nil {
			return nil, err
		}
		return guard(c, caching, checkRole), nil
	}
}

// conn is a guarded connection. After a refused answer every Read fails, and
// rueidis closes the connection. One goroutine reads at a time, and one writes.
type conn struct {
	net.Conn
	requests, answers framing
	commands          commands
	replies           replies
	refused           error
}

func guard(c net.Conn, caching bool, checkRole func(role string) error) *conn {
	g := &conn{Conn: c}
	g.replies.commands, g.replies.caching, g.replies.checkRole = &g.commands, caching, checkRole
	g.requests.rules, g.answers.rules = &g.commands, &g.replies
	return g
}

func (c *conn) Write(b []byte) (int, error) {
	if _, err := c.requests.follow(b); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
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

// Interface guard
var _ net.Conn = (*conn)(nil)
