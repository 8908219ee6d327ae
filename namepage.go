package truelayer

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// namePage is the page on which a visitor says the name for which the bank is to vouch. The
// name is kept with the session, sealed.
type namePage struct {
	*failureResponder
	sessions *session.Manager
	forms    pageForms
}

// serve serves <redirect path>/name?return=<path>.
func (n *namePage) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	query, _ := url.ParseQuery(q.query())
	returnTo := n.addresses.returnTarget(query.Get("return"))
	if q.Method != http.MethodGet && q.Method != http.MethodHead && q.Method != http.MethodPost {
		return n.notAllowed(w, q, "GET, HEAD, POST")
	}
	var entered url.Values
	if q.Method == http.MethodPost {
		entered, _ = takeForm(w, q) // without a form there is no name
		if !n.origins.isOwn(q.Request) {
			return n.fail(w, q, failure{
				reason: foreignForm, received: originOf(q.Request), loginURL: n.addresses.origin + n.addresses.nameURL(returnTo),
			})
		}
	}
	s, err := n.sessions.Find(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	if err != nil && !session.IsRevoked(err) {
		return n.fail(w, q, failureOf(err))
	}
	if s == nil || s.IsOver(q.now) {
		n.seeOther(w, q, n.addresses.loginURL(returnTo))
		return nil
	}
	if q.Method == http.MethodPost {
		return n.take(w, q, s, returnTo, entered)
	}
	return n.show(w, q, s, returnTo, pages.Field{Value: vouch.Read(s.Kept).Claimed}, http.StatusOK)
}

// take takes the page's form. A form that is too old, or another session's, is shown again.
func (n *namePage) take(w http.ResponseWriter, q *request, s *session.Session, returnTo string, entered url.Values) error {
	name := vouch.Fold(entered.Get("name"))
	if !vouch.IsName(name) {
		return n.show(w, q, s, returnTo, pages.Field{Value: sanitize(name), Problem: "problem_name"}, http.StatusUnprocessableEntity)
	}
	if form, ok := n.forms.open(q, entered.Get("token")); !ok || form.subject != subjectOf(s) {
		return n.show(w, q, s, returnTo, pages.Field{Value: name, Problem: "problem_again"}, http.StatusBadRequest)
	}
	kept, err := n.sessions.Keep(context.WithoutCancel(q.Context()), s, func(kept string) (string, bool) {
		state := vouch.Read(kept)
		if state.Claimed == name {
			return kept, false
		}
		state.Claimed = name
		return state.Append(), true
	})
	switch {
	case err != nil:
		return n.fail(w, q, failureOf(err))
	case kept == nil: // signed out meanwhile
		n.seeOther(w, q, n.addresses.loginURL(returnTo))
	default:
		n.seeOther(w, q, returnTo)
	}
	return nil
}

// subjectOf ties a form to its session.
func subjectOf(s *session.Session) string { return hex.EncodeToString([]byte(s.ID())) }

// show writes the page with its only field.
func (n *namePage) show(w http.ResponseWriter, q *request, s *session.Session, returnTo string, field pages.Field, status int) error {
	field.Name, field.Key, field.Type, field.Autocomplete, field.Autocapitalize, field.Required = "name", "field_name", "text", "name", "words", true
	page := &pages.Name{
		Back: returnTo, SignOut: n.signOut,
		Form: pages.Form{Post: n.addresses.nameURL(returnTo), Token: n.forms.issue(w, q, subjectOf(s), ""), Fields: []pages.Field{field}},
	}
	prepareFormPage(w)
	return n.draw(w, q, status, page)
}
