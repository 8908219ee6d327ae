package guardedconn

import (
	"errors"
	"strings"
	"sync/atomic"
)

var (
	errUnsolicited    = errors.New("an answer that nobody asked for")
	errUnexpectedPush = errors.New("a push message where Redis sends none")
)

// commands counts the commands that are sent.
type commands struct {
	sent atomic.Int64
	// subscribed is set on a connection to a Sentinel. SUBSCRIBE and UNSUBSCRIBE
	// are answered with a push message for each channel, or with one error, so
	// answers are not counted there.
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

// replies counts the answers to commands as rueidis does: every message that is
// not a push message answers one command.
//
// If Redis 6 finds that a key has expired, it sends a push message in the middle
// of an answer to EXEC, and counts it as an element of the answer
// (https://github.com/redis/redis/issues/8935). The element that it displaces
// follows as a message. rueidis reads that message as an element if the server
// has reported version 6 and the connection is ready.
type replies struct {
	commands  *commands
	caching   bool
	checkRole func(role string) error
	handshake int64 // how many commands make the connection ready

	received  int64
	current   purpose
	pushes    int    // in the message under way
	displaced int    // elements of the last answer that are yet to come
	name      string // of the field in HELLO's answer whose value is next
	version6  bool
}

// purpose is what a message is for.
type purpose uint8

const (
	reply purpose = iota
	push
	element
)

func (r *replies) begins(f *framing) error {
	switch {
	case f.depth > 0: // a push message inside another message
		if !r.version6 || !r.caching || f.depth > 1 || r.current != reply || r.received <= r.handshake {
			return errUnexpectedPush
		}
		r.pushes++
	case r.displaced > 0:
		r.displaced--
		r.current = element
	case f.kind == '>':
		r.current = push
	case r.received == r.commands.sent.Load() && !r.commands.subscribed.Load():
		return errUnsolicited
	default:
		r.received++
		r.current = reply
	}
	return nil
}

func (r *replies) element(f *framing, index int) error {
	word := f.word()
	switch {
	case f.open[0].kind == '>':
		// rueidis would take these for the answer to the next command
		if index == 0 && !r.commands.subscribed.Load() &&
			(word == "subscribe" || word == "psubscribe" || word == "ssubscribe") {
			return errUnexpectedPush
		}
	case r.received != 1 || r.current != reply: // not the answer to HELLO
	case index%2 == 0:
		r.name = word
	case r.name == "version":
		r.version6 = word == "6" || strings.HasPrefix(word, "6.")
	case r.name == "role":
		return r.checkRole(word)
	}
	return nil
}

func (r *replies) ends() {
	if r.current == reply {
		r.displaced, r.pushes = r.pushes, 0
	}
}

// Interface guards
var (
	_ rules = (*commands)(nil)
	_ rules = (*replies)(nil)
)
