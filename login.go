package truelayer

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"

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
	if query, err := url.ParseQuery(arrived(r).URL.RawQuery); err == nil && len(query["return"]) == 1 {
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
	case s == nil:
		return h.startLogin(w, r, returnTo, "")
	case s.over(h.now()), h.isStuck(s, h.now()):
		return h.startLogin(w, r, returnTo, s.provider) // the bank that was connected before
	}
	h.seeOther(w, returnTo)
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
