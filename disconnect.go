package truelayer

import (
	"net/http"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// disconnection ends visitors' sessions together with their connections at TrueLayer.
type disconnection struct {
	*failureResponder
	sessions *session.Manager
	logins   *loginCookies
}

// The queries of the pages that say what has become of the connection, with the names of
// their texts. Anybody can make up such an address, so the texts are fixed.
var disconnections = map[string]string{"ended": "disconnected", "left": "disconnected_here", "none": "not_disconnected"}

// serve serves <redirect path>/disconnect. Only a POST from the site itself ends anything.
func (d *disconnection) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		return d.writePage(w, q)
	case http.MethodPost:
	default:
		return d.notAllowed(w, q, "GET, HEAD, POST")
	}
	if err := d.origins.check(q.Request); err != nil {
		return d.fail(w, q, foreignRequest(q, err))
	}
	form, _ := takeForm(w, q)
	now, _ := d.sessions.Look(q.Context(), q.ownCookies.sessionSecrets(), q.now) // of its error Disconnect tells
	if showsAnother(form, now) {
		d.seeOther(w, q, d.addresses.connection)
		return nil
	}
	ended, everywhere, err := d.sessions.Disconnect(q.withCause(), q.ownCookies.sessionSecrets())
	for _, s := range ended {
		q.setPlaceholder(userID, s.Connection) // for the access log
	}
	// as at a logout, the browser forgets the session even if the store fails
	d.logins.forgetSession(w, q.cookies)
	d.logins.names.forgetBank(w, q.cookies)
	if err != nil {
		return d.fail(w, q, failure{reason: logoutIncomplete, cause: err, details: []pages.Words{{Key: "withdraw"}}})
	}
	w.Header().Set("Clear-Site-Data", `"cache"`)
	result := "ended"
	switch {
	case len(ended) == 0:
		result = "none"
	case !everywhere:
		result = "left"
	}
	d.seeOther(w, q, d.addresses.disconnect+"?"+result)
	return nil
}

// writePage says what has become of a connection. Who has one sees that one.
func (d *disconnection) writePage(w http.ResponseWriter, q *request) error {
	key, known := disconnections[q.query()]
	s, err := d.sessions.Look(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	switch {
	case err != nil && !session.IsRevoked(err):
		return d.fail(w, q, failureOf(err))
	case !known || s != nil && !s.IsOver(q.now):
		d.seeOther(w, q, d.addresses.connection)
		return nil
	}
	page := &pages.Message{Key: key, Link: d.addresses.loginURL("/"), Home: d.home}
	if key != "disconnected" {
		page.Details = []pages.Words{{Key: "withdraw"}}
	}
	return d.draw(w, q, http.StatusOK, page)
}
