package truelayer

import (
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// shownSession is the field of the page's forms that names the session which it shows.
const shownSession = "session"

// connectionLinks says where a visitor manages the bank connection. It is nil if the
// application serves these addresses.
type connectionLinks struct {
	page, renew string        // absolute URLs
	before      time.Duration // the option renew_before
}

func newConnectionLinks(a *addresses, before time.Duration) *connectionLinks {
	return &connectionLinks{page: a.origin + a.connection, renew: a.origin + a.renew, before: before}
}

// pageURL returns the URL of the page about the connection, or "".
func (l *connectionLinks) pageURL() string {
	if l == nil {
		return ""
	}
	return l.page
}

// renewURL returns the URL to which a form posts that renews a session's connection. It is
// "" as long as that is not offered, and once there is nothing to renew.
func (l *connectionLinks) renewURL(s *session.Session, now time.Time) string {
	if l == nil || s.IsOver(now) || !s.ConsentIsOver() && now.Before(s.ConsentEnds.Add(-l.before)) {
		return ""
	}
	return l.renew
}
