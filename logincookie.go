package truelayer

import (
	"iter"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// loginSlots are the cookies that logins are kept in, each with the length of the
// longest return target that it takes. There are no more of them, however many
// tabs a browser opens at once: their requests do not see each other's cookies, and
// a Cookie line of more than 8 KB is refused by many servers in front.
var loginSlots = [...]int{maxReturn, 500, 200, 200, 200}

// maxLoginsTried bounds how many cookies with a login cookie's name are opened.
// There are more than slots only without the __Host- prefix.
const maxLoginsTried = 4 * len(loginSlots)

// loginCookie is the name of a slot's cookie.
func (c *cookieNames) loginCookie(slot int) string { return c.login + strconv.Itoa(slot) }

// loginCookies are the cookies in which a block keeps logins.
type loginCookies struct {
	names  *cookieNames
	sealer loginSealer
	now    func() time.Time
}

// in yields the logins that Cookie lines have, those of the last cookies
// first: ours are for the path "/", and browsers send what somebody else has
// planted for a longer path before them (RFC 6265 section 5.4).
func (c *loginCookies) in(lines []string) iter.Seq[*login] {
	return func(yield func(*login) bool) {
		var last [maxLoginsTried][2]string
		n := 0
		for name, value := range cookiePairs(lines) {
			if strings.HasPrefix(name, c.names.login) {
				last[n%len(last)] = [2]string{name, value}
				n++
			}
		}
		for i := range min(n, len(last)) {
			cookie := last[(n-1-i)%len(last)]
			if l, err := c.sealer.open(cookie[0], cookie[1]); err == nil && !yield(l) {
				return
			}
		}
	}
}

// find returns the login with the state, or nil.
func (c *loginCookies) find(lines []string, state string) *login {
	for l := range c.in(lines) {
		if l.state == state {
			return l
		}
	}
	return nil
}

// expectSession reports whether a login of this browser was done so recently
// that its session should be here.
func (c *loginCookies) expectSession(lines []string) bool {
	for l := range c.in(lines) {
		if l.expectsSession(c.now()) {
			return true
		}
	}
	return false
}

// keep sets the cookie of a login that begins. A slot that is free is drawn
// by lot, so that tabs which begin at once do not all take the same one. If none
// is free for the return target that one is shortened, and if none is free at all
// the oldest login goes.
func (c *loginCookies) keep(w http.ResponseWriter, lines []string, l *login) {
	var used [len(loginSlots)]*login
	for other := range c.in(lines) {
		for slot := range used {
			if other.cookie == c.names.loginCookie(slot) && used[slot] == nil && !other.isOver(c.now()) {
				used[slot] = other
			}
		}
	}
	slot, found := 0, false
	for target := l.returnTo; !found; target = shorten(target) {
		if slot, found = freeSlot(used, len(target)); found || target == "/" {
			break
		}
	}
	if !found {
		slot = oldest(used)
	}
	c.put(w, c.names.loginCookie(slot), loginSlots[slot], l)
}

// markDone takes a login that is done out of its cookie and leaves a mark there
// that it was.
func (c *loginCookies) markDone(w http.ResponseWriter, l *login, sessionExpected time.Time) {
	done := &login{done: true, started: l.started, sessionExpected: sessionExpected, state: l.state, returnTo: l.returnTo}
	c.put(w, l.cookie, loginSlots[len(loginSlots)-1], done)
}

// put sets a login's cookie, with a return target that is not longer than most.
func (c *loginCookies) put(w http.ResponseWriter, name string, most int, l *login) {
	for len(l.returnTo) > most {
		l.returnTo = shorten(l.returnTo)
	}
	c.names.set(w, name, c.sealer.seal(name, l), loginLifetime)
}

// remove takes a login's cookie from the browser.
func (c *loginCookies) remove(w http.ResponseWriter, l *login) { c.names.set(w, l.cookie, "", -1) }

// freeSlot draws one of the free slots that take a return target of a length.
func freeSlot(used [len(loginSlots)]*login, length int) (slot int, found bool) {
	for n, i := 0, 0; i < len(used); i++ {
		if used[i] != nil || length > loginSlots[i] {
			continue
		}
		if n++; mathrand.IntN(n) == 0 { //nolint:gosec // spread, not secret
			slot, found = i, true
		}
	}
	return slot, found
}

// oldest is the slot of the login that began first, if it can be of one that is
// not done: the mark of a login that is done keeps its visitor from a loop.
func oldest(used [len(loginSlots)]*login) (slot int) {
	for i, l := range used {
		if o := used[slot]; o.done && !l.done || o.done == l.done && l.started.Before(o.started) {
			slot = i
		}
	}
	return slot
}

// prune takes login cookies from the browser that are good for nothing any more.
func (c *loginCookies) prune(w http.ResponseWriter, lines []string) {
	live := make(map[string]bool)
	for l := range c.in(lines) {
		if !l.isOver(c.now()) {
			live[l.cookie] = true
		}
	}
	pruned := 0
	for name := range cookiePairs(lines) {
		if strings.HasPrefix(name, c.names.login) && !live[name] && pruned < maxLoginsTried {
			live[name] = true // once
			pruned++
			c.names.set(w, name, "", -1)
		}
	}
}
