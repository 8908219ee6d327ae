package guardedconn

import (
	"errors"
	"strings"
	"sync/atomic"
)

var (
	errUnasked = errors.New("an answer that nobody asked for")
	errPush    = errors.New("a push message where Redis sends none")
)

// commands counts the commands that are sent.
type commands struct {
	sent atomic.Int64
	// subscribed is set on a connection to a Sentinel. The answer to SUBSCRIBE
	// and UNSUBSCRIBE is a push message for each channel, or one error, so answers
	// are not counted there.
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

// replies counts the answers to commands as rueidis does: every message that
// is no push message answers one command.
//
// Redis 6 sends push messages in the middle of EXEC's answer for keys that it
// finds expired, and counts them as elements of the answer
// (https://github.com/redis/redis/issues/8935). The elements that they displace
// follow as messages. rueidis reads these as elements if the server has called
// itself version 6 and the connection is ready.
type replies struct {
	commands  *commands
	caching   bool
	checkRole func(role string) error
	handshake int64 // how many commands make the connection ready

	came     int64
	current  purpose
	pushes   int    // in the message under way
	owed     int    // messages that are elements of the one before
	name     string // of HELLO's element whose value is next
	version6 bool
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
	case f.depth > 0: // a push message inside of another message
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
		// rueidis takes these for the answer to the next command
		if index == 0 && !r.commands.subscribed.Load() &&
			(word == "subscribe" || word == "psubscribe" || word == "ssubscribe") {
			return errPush
		}
	case r.came != 1 || r.current != reply: // not HELLO's
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
		r.owed, r.pushes = r.pushes, 0
	}
}

// Interface guards
var (
	_ rules = (*commands)(nil)
	_ rules = (*replies)(nil)
)
