package truelayer

import (
	"net/url"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// shownSession is the field of the page's forms that names the session which the page shows.
const shownSession = "session"

// showsAnother reports whether a form is that of a page about another session than the one
// that the browser has now. A form of the application's own does not say what it is about.
func showsAnother(form url.Values, s *session.Session) bool {
	shown := form.Get(shownSession)
	return shown != "" && s != nil && s.ShortID() != shown
}

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
