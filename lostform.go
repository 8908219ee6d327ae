package truelayer

import (
	"net/http"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// failForm answers a person who has sent a form that was not forwarded. The page stays
// where it is while the visitor connects in another tab, since the browser can send the form
// once more from it. A form of another origin's page is not asked for again.
func (a *failureResponder) failForm(w http.ResponseWriter, q *request, reason reason) error {
	if err := a.origins.check(q.Request); err != nil {
		return a.fail(w, q, foreignRequest(q, err))
	}
	// on another host there is no session after the login either, and a reload of the page
	// around a frame need not send the frame's form
	if a.addresses.isOtherHost(q.Host) || q.whoAsks() == frame {
		return a.fail(w, q, failure{reason: reason, details: []pages.Words{{Key: "form_not_saved"}}, returnTo: a.addresses.cameFrom(q, "/")})
	}
	return a.fail(w, q, failure{
		reason: reason, details: []pages.Words{{Key: "form_again"}}, action: "form_again", newTab: true, loginURL: a.addresses.origin + a.addresses.tabURL(),
	})
}

// endTab answers who has connected in a tab of its own, for a form that waits in another.
func (a *failureResponder) endTab(w http.ResponseWriter, q *request, connected bool) error {
	if !connected {
		return a.fail(w, q, failure{reason: sessionLost})
	}
	noStore(w)
	return a.draw(w, q, http.StatusOK, &pages.Message{Key: "tab_connected"})
}
