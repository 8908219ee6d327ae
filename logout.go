package truelayer

import (
	"cmp"
	"net/http"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// logout signs visitors out.
type logout struct {
	*failureResponder
	sessions   *session.Manager
	logins     *loginCookies
	next       string // where a visitor goes afterwards, "" for the module's own page
	disconnect bool   // whether to end the connection at TrueLayer, too
}

// serve serves <redirect path>/logout. Only a POST from the site itself ends a session;
// an image tag or another site's form cannot.
func (l *logout) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	switch q.Method {
	case http.MethodGet:
		return l.writePage(w, q)
	case http.MethodPost:
	default:
		return l.notAllowed(w, q, "GET, POST")
	}
	if err := l.origins.check(q.Request); err != nil {
		return l.fail(w, q, foreignRequest(q, err))
	}
	// the browser forgets the session even if the store fails
	ended, err := l.sessions.Logout(q.withCause(), q.ownCookies.sessionSecrets(), l.disconnect)
	for _, s := range ended {
		q.setPlaceholder(userID, s.Connection) // for the access log
	}
	l.logins.forgetSession(w, q.cookies)
	l.logins.names.forgetBank(w, q.cookies) // whoever uses the browser next
	if err != nil {
		return l.fail(w, q, failure{reason: logoutIncomplete, cause: err})
	}
	// otherwise the browser's Back button would show private pages from its cache;
	// "cookies" would sign the visitor out of every site of the registrable domain
	w.Header().Set("Clear-Site-Data", `"cache"`)
	l.seeOther(w, q, cmp.Or(l.next, l.addresses.logout+"?"+signedOutQuery))
	return nil
}

// signedOutQuery is the query of the page that is shown after signing out, so that
// its address says what it is.
const signedOutQuery = "done"

// writePage writes the page with the button that signs out, or one which says that the
// visitor is signed out.
func (l *logout) writePage(w http.ResponseWriter, q *request) error {
	s, err := l.sessions.Find(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	if err != nil && !session.IsRevoked(err) {
		return l.fail(w, q, failureOf(err))
	}
	if s == nil || s.IsOver(q.now) {
		return l.draw(w, q, http.StatusOK, &pages.Message{Key: "signed_out", Link: l.addresses.loginURL("/"), Home: l.home})
	}
	prepareFormPage(w)
	return l.draw(w, q, http.StatusOK, &pages.Message{Key: "sign_out", Post: l.addresses.logout, Home: l.home})
}
