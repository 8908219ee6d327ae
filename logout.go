package truelayer

import (
	"cmp"
	"net/http"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// logout signs visitors out.
type logout struct {
	*failures
	sessions   *session.Manager
	cookies    *cookieNames
	logins     *loginCookies
	next       string // where a visitor goes then, "" for a page of our own
	disconnect bool   // the connection at TrueLayer, too
}

// serve is <redirect path>/logout. Only a POST from the site itself ends
// a session: neither an image tag nor another site's form can.
func (l *logout) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	switch q.Method {
	case http.MethodGet:
		if q.query() == signedOutQuery {
			return l.writeSignedOut(w, q)
		}
		return l.writeConfirmation(w)
	case http.MethodPost:
	default:
		return l.notAllowed(w, q, "GET, POST")
	}
	if err := l.origins.admit(q.Request); err != nil {
		return l.fail(w, q, failure{reason: crossSite, cause: err})
	}
	// the browser forgets the session whatever the store says
	err := l.sessions.Logout(q.Context(), q.own.sessions(), l.disconnect)
	l.forgetCookies(w, q)
	if err != nil {
		return l.fail(w, q, failure{reason: logoutIncomplete, cause: err})
	}
	// what the cache keeps of private pages would come again with the browser's
	// "Back". "cookies" would sign out of every site of the registrable domain
	w.Header().Set("Clear-Site-Data", `"cache"`)
	l.seeOther(w, cmp.Or(l.next, l.addresses.logout+"?"+signedOutQuery))
	return nil
}

// signedOutQuery is the query of the page that says that one is signed out: an
// address of its own, which can be reloaded.
const signedOutQuery = "done"

// writeSignedOut writes that page, unless the visitor, who has opened it by hand,
// has a session. It leads to a bank only who asks for it.
func (l *logout) writeSignedOut(w http.ResponseWriter, q *request) error {
	s, err := l.sessions.Find(q.Context(), q.own.sessions(), q.now)
	if err != nil {
		return l.fail(w, q, failureOf(err))
	}
	if s != nil && !s.IsOver(q.now) {
		return l.writeConfirmation(w)
	}
	return l.page(w, http.StatusOK, pages.Page{Text: pages.TextOf("signed_out"), Link: l.addresses.loginURL("/")})
}

// writeConfirmation writes the page whose button signs out.
func (l *logout) writeConfirmation(w http.ResponseWriter) error {
	// with no-referrer, older browsers would post the form with "Origin: null"
	w.Header().Set("Referrer-Policy", "same-origin")
	return l.page(w, http.StatusOK, pages.Page{Text: pages.TextOf("sign_out"), Post: l.addresses.logout, Home: l.addresses.origin + "/"})
}

// forgetCookies takes the session cookie and the marks of finished logins from
// the browser; without the latter its next visit would look like a session
// that was lost. Logins that are under way in other tabs are left.
func (l *logout) forgetCookies(w http.ResponseWriter, q *request) {
	l.cookies.set(w, l.cookies.session, "", -1)
	for login := range l.logins.in(q.cookies) {
		if login.done {
			l.logins.remove(w, login)
		}
	}
}
