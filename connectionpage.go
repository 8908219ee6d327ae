package truelayer

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// connectionPage shows visitors their bank connection, with buttons that renew and end it.
type connectionPage struct {
	*failureResponder
	sessions *session.Manager
	choice   *bankChoice
	links    *connectionLinks
	logout   *logout // nil if the page has no button that signs out
}

// serve serves <redirect path>/connection. The request does not count as use of the session,
// or the page could not say when that was used.
func (c *connectionPage) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return c.notAllowed(w, q, "GET, HEAD")
	}
	if c.addresses.isOtherHost(q.Host) && !q.parameters().Has(movedParam) { // the session is there
		c.seeOther(w, q, c.links.page+"?"+movedParam+"=1")
		return nil
	}
	s, err := c.sessions.Look(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	switch {
	case session.IsRevoked(err):
		return c.showNone(w, q, string(sessionRevoked))
	case err != nil:
		return c.fail(w, q, failureOf(err))
	case s == nil:
		return c.showNone(w, q, "no_connection")
	case s.IsOver(q.now):
		return c.showNone(w, q, string(consentExpired))
	}
	return c.show(w, q, s)
}

// showNone tells a person that there is no connection. The key names the text that says why.
// It sends nobody to a bank.
func (c *connectionPage) showNone(w http.ResponseWriter, q *request, key string) error {
	if who := q.whoAsks(); who != navigation && who != frame {
		return c.refuse(w, q, c.addresses.connection)
	}
	prepareFormPage(w)
	return c.draw(w, q, http.StatusOK, &pages.Message{Key: key, Link: c.addresses.loginURL(c.addresses.connection), Home: c.home})
}

// show shows a session's connection.
func (c *connectionPage) show(w http.ResponseWriter, q *request, s *session.Session) error {
	page := &pages.Connection{
		Bank: c.bankName(q.Context(), s.Provider), Scopes: strings.Fields(s.Scopes),
		Since: s.Began(), Until: s.ConsentEnds, LastUsed: s.LastUsed(),
		Session: s.ShortID(), Disconnect: c.addresses.disconnect, Home: c.home,
	}
	if c.links.renewURL(s, q.now) != "" {
		page.Renew = c.addresses.renew
	}
	if s.ConsentIsOver() {
		page.Until = s.TokenExpires
	}
	if c.logout != nil {
		page.SignOut, page.SignOutEnds = c.addresses.logout, c.logout.disconnect
	}
	prepareFormPage(w)
	return c.draw(w, q, http.StatusOK, page)
}

// bankNameTimeout bounds how long the page waits for the name of the bank.
const bankNameTimeout = time.Second

// bankName returns the name of the bank with an id, as far as it can be had, and else the id.
func (c *connectionPage) bankName(ctx context.Context, id string) string {
	if id == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, bankNameTimeout)
	defer cancel()
	list, _ := c.choice.keeper.List(ctx)
	for _, bank := range list {
		if bank.ID == id {
			return bank.Name
		}
	}
	return id
}
