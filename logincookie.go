package truelayer

import (
	"hash/fnv"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// loginSlots are the cookies that can hold a login, each with the length of the longest
// return target that it takes. Their number is fixed, because many servers refuse a
// Cookie line of more than 8 KB, and a browser may start a login in many tabs at once.
var loginSlots = [...]int{maxReturn, 500, 200, 200, 200}

// maxLoginsTried bounds how many cookies with a login cookie's name are opened. There
// can be more of them than slots only without the __Host- prefix.
const maxLoginsTried = 4 * len(loginSlots)

// loginCookie returns the name of a slot's cookie.
func (c *cookieNames) loginCookie(slot int) string { return c.login + strconv.Itoa(slot) }

// loginCookies keeps the logins of a block in cookies.
type loginCookies struct {
	names  *cookieNames
	sealer loginSealer
	now    func() time.Time
}

// in yields the logins in the lines of a Cookie field, the last cookie first. The module
// sets its cookies for the path "/", and browsers send a cookie that somebody planted
// for a longer path before it (RFC 6265 section 5.4).
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

// find returns the login with the given state, or nil.
func (c *loginCookies) find(lines []string, state string) *login {
	for l := range c.in(lines) {
		if l.state == state {
			return l
		}
	}
	return nil
}

// expectsSession reports whether this browser completed a login so recently that it
// should have a session.
func (c *loginCookies) expectsSession(lines []string) bool {
	for l := range c.in(lines) {
		if l.expectsSession(c.now()) {
			return true
		}
	}
	return false
}

// add sets the cookie of a new login. It picks a free slot by the state, so that tabs that
// start a login at the same time do not all take the same one, and repetitions of one
// request do. If no free slot takes the return target, it shortens the target. If no slot is
// free at all, it replaces the oldest login.
func (c *loginCookies) add(w http.ResponseWriter, lines []string, l *login) {
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
		if slot, found = freeSlot(used, len(target), l.state); found || target == "/" {
			break
		}
	}
	if !found {
		slot = oldest(used)
	}
	c.set(w, c.names.loginCookie(slot), loginSlots[slot], l, loginCookieLifetime)
}

// markDone replaces a login in its cookie with a mark that it was completed.
func (c *loginCookies) markDone(w http.ResponseWriter, l *login, sessionExpected time.Time) {
	done := &login{done: true, started: l.started, sessionExpected: sessionExpected, state: l.state, returnTo: l.returnTo}
	c.set(w, l.cookie, loginSlots[len(loginSlots)-1], done, loginLifetime)
}

// set sets a login's cookie. It shortens the return target to at most maxTarget bytes.
func (c *loginCookies) set(w http.ResponseWriter, name string, maxTarget int, l *login, lifetime time.Duration) {
	for len(l.returnTo) > maxTarget {
		l.returnTo = shorten(l.returnTo)
	}
	c.names.set(w, name, c.sealer.seal(name, l), lifetime)
}

// remove deletes a login's cookie from the browser.
func (c *loginCookies) remove(w http.ResponseWriter, l *login) { c.names.set(w, l.cookie, "", -1) }

// forgetSession deletes the session cookie and the marks of completed logins from the
// browser. With those marks the next visit would look like a lost session. Logins in
// progress in other tabs stay.
func (c *loginCookies) forgetSession(w http.ResponseWriter, lines []string) {
	c.names.set(w, c.names.session, "", -1)
	for login := range c.in(lines) {
		if login.done {
			c.remove(w, login)
		}
	}
}

// freeSlot picks one of the free slots that take a return target of the given length. The
// state, which is random, decides which.
func freeSlot(used [len(loginSlots)]*login, length int, state string) (slot int, found bool) {
	var free []int
	for i := range used {
		if used[i] == nil && length <= loginSlots[i] {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return 0, false
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(state))
	return free[int(hash.Sum32())%len(free)], true
}

// oldest returns the slot of the oldest login. It prefers logins that are not done,
// because the mark of a completed login keeps its visitor out of a redirect loop.
func oldest(used [len(loginSlots)]*login) (slot int) {
	for i, l := range used {
		if o := used[slot]; o.done && !l.done || o.done == l.done && l.started.Before(o.started) {
			slot = i
		}
	}
	return slot
}

// prune deletes the login cookies that are no longer of use from the browser.
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
			live[name] = true // delete each name only once
			pruned++
			c.names.set(w, name, "", -1)
		}
	}
}
