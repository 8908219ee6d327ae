package truelayer

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// randomText returns 32 random bytes in base64url, which is what RFC 7636
// section 4.1 recommends for a code verifier.
func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// startLogin sends the visitor to a newly made auth link, if provider is not ""
// straight to that bank.
func (h *Handler) startLogin(w http.ResponseWriter, r *http.Request, returnTo, provider string) error {
	l := &login{
		started:     h.now(),
		state:       randomText(),
		redirectURI: h.link.RedirectURI,
		returnTo:    returnTo,
	}
	if !h.DisablePKCE {
		l.verifier = authserver.NewSecret(randomText())
	}
	h.prune(w, r)
	h.keepLogin(w, r, l)

	link := h.link
	link.State = l.state
	if link.ProviderID == "" {
		link.ProviderID = provider
	}
	link.Verifier = l.verifier
	h.seeOther(w, h.client.AuthLink(link))
	return nil
}

// serveLogin is the login URL: <redirect path>/login?return=<path>.
func (h *Handler) serveLogin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return h.fail(w, r, failure{reason: methodNotAllowed})
	}
	returnTo := "/"
	query, err := url.ParseQuery(arrived(r).URL.RawQuery)
	if err == nil && len(query["return"]) == 1 {
		returnTo = h.returnTarget(query.Get("return"))
	}
	if fetch := r.Header.Get("Sec-Fetch-Mode"); fetch != "" && classify(r) != navigation {
		// an image tag or a frame must not start logins
		return h.refuse(w, r, returnTo)
	}
	s, err := h.find(r.Context(), cookieLines(r), h.now())
	if err != nil {
		return h.fail(w, r, failure{reason: storeUnavailable, cause: err})
	}
	switch {
	case s != nil && !s.over(h.now()) && !h.isStuck(s, h.now()):
		h.seeOther(w, returnTo)
		return nil
	case h.onAnotherHost(r) && !query.Has(movedParam):
		return h.moveLogin(w, r, returnTo)
	case s != nil:
		return h.startLogin(w, r, returnTo, s.provider) // the bank that was connected before
	}
	return h.startLogin(w, r, returnTo, "")
}

// movedParam marks a login URL to which a visitor of another host was sent.
const movedParam = "moved"

// onAnotherHost reports whether a visitor is on another host than the redirect
// URI's, www beside the apex for example, where a login's cookie would be set that
// does not come to the redirect URI.
func (h *Handler) onAnotherHost(r *http.Request) bool { return hostname(r.Host) != h.host }

// moveLogin sends a visitor to the login URL on the redirect URI's host. The mark in
// it begins the login there whatever host it is asked for with, so that a proxy in
// front which changes the host costs one more redirect and no loop.
func (h *Handler) moveLogin(w http.ResponseWriter, r *http.Request, returnTo string) error {
	h.logger.Info("a visitor of another host was sent to the redirect URI's to log in",
		zap.String("host", cut(hostname(r.Host))), zap.String("redirect_host", h.host))
	h.prepare(w, r)
	query := url.Values{movedParam: {"1"}}
	if returnTo != "/" {
		query.Set("return", returnTo)
	}
	h.seeOther(w, h.origin+h.paths.login+"?"+query.Encode())
	return nil
}

// loginURL is the absolute login URL that comes back to returnTo. It is on the
// redirect URI's host, where the login's cookie has to be set.
func (h *Handler) loginURL(returnTo string) string {
	u := h.origin + h.paths.login
	if returnTo != "/" {
		u += "?return=" + url.QueryEscape(returnTo)
	}
	return u
}
