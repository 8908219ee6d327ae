package truelayer

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// disconnectTimeout bounds the call that ends a connection at TrueLayer.
const disconnectTimeout = 10 * time.Second

// serveLogout is <redirect path>/logout. Only a POST from the site itself ends
// a session: neither an image tag nor another site's form can.
func (h *Handler) serveLogout(w http.ResponseWriter, r *http.Request) error {
	noStore(w)
	switch r.Method {
	case http.MethodGet:
		if arrived(r).URL.RawQuery == signedOutQuery {
			return h.writeSignedOut(w, r)
		}
		return h.writeConfirmation(w)
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, POST")
		return h.fail(w, r, failure{reason: methodNotAllowed})
	}
	if err := h.checkOrigin(r); err != nil {
		return h.fail(w, r, failure{reason: crossSite, cause: err})
	}
	// the browser forgets the session whatever the store says
	err := h.endSessions(r)
	h.forgetCookies(w, r)
	if err != nil {
		return h.fail(w, r, failure{reason: logoutIncomplete, cause: err})
	}
	// what the cache keeps of private pages would come again with the browser's
	// "Back". "cookies" would sign out of every site of the registrable domain
	w.Header().Set("Clear-Site-Data", `"cache"`)
	h.seeOther(w, cmp.Or(h.LogoutRedirect, h.paths.logout+"?"+signedOutQuery))
	return nil
}

// signedOutQuery is the query of the page that says that one is signed out: an
// address of its own, which can be reloaded.
const signedOutQuery = "done"

// writeSignedOut writes that page, unless the visitor, who has opened it by hand,
// has a session. It leads to a bank only who asks for it.
func (h *Handler) writeSignedOut(w http.ResponseWriter, r *http.Request) error {
	s, err := h.find(r.Context(), cookieLines(r), h.now())
	if err != nil {
		return h.fail(w, r, failure{reason: storeUnavailable, cause: err})
	}
	if s != nil && !s.over(h.now()) {
		return h.writeConfirmation(w)
	}
	return h.writePage(w, http.StatusOK, pages.Page{Text: pages.TextOf("signed_out"), Link: h.loginURL("/")})
}

// writeConfirmation writes the page whose button signs out.
func (h *Handler) writeConfirmation(w http.ResponseWriter) error {
	// with no-referrer, older browsers would post the form with "Origin: null"
	w.Header().Set("Referrer-Policy", "same-origin")
	return h.writePage(w, http.StatusOK, pages.Page{Text: pages.TextOf("sign_out"), Post: h.paths.logout, Home: h.origin + "/"})
}

// endSessions deletes the sessions whose cookies the request brings. A refresh
// that is under way does not bring them back, see TokenStore.Replace.
func (h *Handler) endSessions(r *http.Request) error {
	var failed error
	for secret := range h.cookies.secrets(cookieLines(r)) {
		id := h.label.sessionID(&secret)
		record, err := h.store.Get(r.Context(), id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // anybody can invent ids, and a delete costs the store more than a look
		}
		if deleteErr := h.store.Delete(context.WithoutCancel(r.Context()), id); deleteErr != nil {
			failed = errors.Join(failed, err, deleteErr)
		}
		if err != nil {
			continue
		}
		if s := h.openRecord(id, &secret, record, h.now()); s != nil && h.DisconnectOnLogout {
			h.disconnect(s)
		}
		h.auth.opened.forget(id)
	}
	return failed
}

// forgetCookies takes the session cookie and the marks of finished logins from
// the browser; without the latter its next visit would look like a session
// that was lost. Logins that are under way in other tabs are left.
func (h *Handler) forgetCookies(w http.ResponseWriter, r *http.Request) {
	h.cookies.set(w, h.cookies.session, "", -1)
	for l := range h.loginsOf(r) {
		if l.done {
			h.cookies.set(w, l.cookie, "", -1)
		}
	}
}

// disconnect ends the connection at TrueLayer behind the visitor, who is signed
// out already. It is tried once, with the access token that is there.
func (h *Handler) disconnect(s *storedSession) {
	if !h.now().Before(s.tokenDies()) {
		h.logger.Warn("a connection was left at TrueLayer: its access token has expired", zap.String("provider", s.provider))
		return
	}
	access := s.accessToken()
	h.auth.refreshes.Begin("disconnect "+s.id, disconnectTimeout, func(ctx context.Context) (any, error) {
		err := h.client.Disconnect(ctx, access)
		if err != nil {
			h.logger.Warn("a connection was left at TrueLayer: ending it failed", zap.String("provider", s.provider), zap.Error(err))
		}
		return nil, err
	})
}
