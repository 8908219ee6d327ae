// Package guardedconn wraps connections to Redis so that a hostile or broken
// answer ends the connection and not the process.
//
// The client library, rueidis (v1.0.79), trusts what it reads. It reads in its
// own goroutines, where no caller can recover from a panic. Running out of memory
// or stack cannot be recovered from anywhere:
//
//   - readB and readA allocate whatever length an answer announces, and
//     readBlobString does so for each chunk. They panic if a length is negative,
//     and exhaust the memory if it is huge.
//   - readS reads a line of any length, and readNextMessage calls itself once
//     for each level of nesting.
//   - readNull and readBoolean skip the rest of the line without reading it.
//   - (*pipe)._backgroundRead panics if an answer arrives for which no command
//     is waiting. It takes the confirmation of a subscription for such an answer.
//   - (*RedisError).IsMoved and IsAsk panic if an error that begins with MOVED
//     or ASK has fewer than three words.
//
// A guarded connection parses the protocol in both directions. Its Read returns
// an error instead of any such bytes.
//
// The guard does not cover rueidis's code for Sentinel: listWatch splits what a
// Sentinel publishes into words, and panics if there are too few. Only TLS
// prevents others from impersonating a Sentinel.
//
// The package can be deleted when rueidis bounds lengths, counts, lines and
// nesting, and closes the connection where it panics now. TestImpostor of
// package redisstore then passes without it. The check of the server's role must
// then move elsewhere.
package guardedconn

import (
	"context"
	"crypto/tls"
	"net"
)

// Dialer returns a function for rueidis's option DialCtxFn. The function connects
// as rueidis does by default, and guards the connection. The argument caching
// says whether rueidis uses client-side caching: only then may Redis send a push
// message in the middle of an answer. The function checkRole is called with the
// role that the server reports in its answer to HELLO. An error from it ends the
// connection.
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

// conn is a guarded connection. After it has refused an answer, every Read fails,
// and rueidis closes the connection. One goroutine may read and another may write
// at the same time.
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
