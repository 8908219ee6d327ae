package truelayer

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// newSite wires what serves the block's requests.
func (h *Handler) newSite(redirect *url.URL, sessions *session.Manager, observer *siteObserver) (*site, error) {
	addresses := newAddresses(redirect)
	origins, err := newOrigins(addresses.origin, h.AllowOrigins)
	if err != nil {
		return nil, err
	}
	look, err := h.Pages.site(addresses.host)
	if err != nil {
		return nil, err
	}
	header := TokenHeader{http.CanonicalHeaderKey(h.TokenHeader.Field), h.TokenHeader.Scheme}
	s := &site{
		protection: protection{h.match},
		cookies:    newCookieNames(h.CookieName, sessions.Label, redirect.Scheme == "https"),
		now:        h.now,
	}
	s.accessLog.logger = h.logger
	s.failureResponder = &failureResponder{
		responder:    &responder{look, origins, &headerChecker{logger: h.logger}, observer},
		addresses:    &addresses,
		stripper:     &stripper{&s.cookies, header.Field, h.now},
		cookie:       s.cookies.session,
		disablePages: h.DisableErrorPages,
		logger:       h.logger,
	}
	s.home = homeOf(s.protection, addresses.origin)
	logins := &loginCookies{&s.cookies, newLoginSealer(sessions.Client.Secret, sessions.Label), h.now}
	s.login = &loginFlow{
		failureResponder: s.failureResponder, sessions: sessions, cookies: &s.cookies, logins: logins,
		link:      h.authorizationRequest(),
		banks:     h.banks,
		server:    h.server,
		proxy:     proxyWatch{logger: h.logger},
		callbacks: callbackWatch{redirectURI: h.RedirectURI, logger: h.logger},
		pkce:      !h.DisablePKCE, issuer: h.Issuer, logger: h.logger, now: h.now,
	}
	s.guard = guard{failureResponder: s.failureResponder, login: s.login, sessions: sessions, header: header, now: h.now}
	h.addPages(s, observer)
	return s, nil
}

// addPages wires the addresses that a block may have.
func (h *Handler) addPages(s *site, observer *siteObserver) {
	if h.BankPicker != nil && h.ProviderID == "" { // there is nothing to choose otherwise
		s.login.picks, s.login.remembers = true, h.BankPicker.Remember
		s.banks = &bankPicker{s.failureResponder, h.sessions, h.banks, &s.cookies, h.BankPicker.Remember}
	}
	if h.Consent != nil {
		s.login.consents = true
		s.consent = h.newConsentPage(s, observer)
	}
	if h.VerifyName != nil {
		s.guard.names = h.newNameVerifier(observer)
		if h.VerifyName.Name == "" {
			s.login.asksName = true
			s.name = &namePage{s.failureResponder, h.sessions, h.newPageForms(s, "name form v1")}
		}
	}
	if !slices.Contains(h.Disable, disableLogout) {
		s.logout = &logout{
			failureResponder: s.failureResponder, sessions: h.sessions, logins: s.login.logins,
			next: h.LogoutRedirect, disconnect: slices.Contains(h.DisconnectOn, disconnectOnLogout),
		}
		s.signOut = s.addresses.origin + s.addresses.logout
	}
	s.login.disconnectsReplaced = slices.Contains(h.DisconnectOn, disconnectOnReplace)
	if !slices.Contains(h.Disable, disableConnection) {
		h.addConnectionPages(s, observer)
	}
	if !slices.Contains(h.Disable, disableSession) {
		s.session = &sessionEndpoint{s.failureResponder, h.sessions, s.signOut, s.guard.links}
	}
}

// addConnectionPages wires the page about the connection, and what its buttons lead to.
func (h *Handler) addConnectionPages(s *site, observer *siteObserver) {
	s.guard.links = newConnectionLinks(s.addresses, time.Duration(h.RenewBefore))
	s.connection = &connectionPage{s.failureResponder, h.sessions, h.banks, s.guard.links, s.logout}
	s.renewal = &renewal{s.failureResponder, h.sessions, s.login, s.consent, &renewalLinks{h.banks, h.sessions, observer, h.now}}
	s.disconnect = &disconnection{s.failureResponder, h.sessions, s.login.logins}
}

// newPageForms wires the forms of a page. Their seal is of a purpose and a redirect URI.
func (h *Handler) newPageForms(s *site, purpose string) pageForms {
	return pageForms{&s.cookies, newSealer(h.sessions.Client.Secret, purpose+" of "+h.RedirectURI, h.sessions.Label)}
}

// newConsentPage wires the page on which visitors consent.
func (h *Handler) newConsentPage(s *site, observer *siteObserver) *consentPage {
	endsAtLogout := !slices.Contains(h.Disable, disableLogout) && slices.Contains(h.DisconnectOn, disconnectOnLogout)
	texts := make(map[*pages.Language]consentText)
	for _, l := range s.pages.Languages() {
		text := l.ConsentText(h.Consent.Controller, h.Consent.Purpose, h.Consent.TermsURL, h.Scopes, endsAtLogout)
		texts[l] = consentText{text, text.Digest()}
	}
	client := h.sessions.Client
	return &consentPage{
		failureResponder: s.failureResponder, sessions: h.sessions, login: s.login, choice: h.banks,
		forms:      h.newPageForms(s, "consent form v1"),
		renewals:   newSealer(client.Secret, "renewal v1 of "+h.RedirectURI, h.sessions.Label),
		controller: h.Consent.Controller, texts: texts, user: userPlaceholders{h.Consent.User.Name, h.Consent.User.Email},
		links: &bankLinks{client: client, scopes: h.Scopes, trackingID: h.AuthParam["tracking_id"], observer: observer, now: h.now},
		picks: s.banks != nil, fallback: h.Consent.FallbackDialog,
	}
}

// newNameVerifier wires what has banks vouch for names.
func (h *Handler) newNameVerifier(observer *siteObserver) *nameVerifier {
	o := h.VerifyName
	return &nameVerifier{
		placeholder: o.Name, sessions: h.sessions, timeout: time.Duration(o.Timeout), sendIP: !o.OmitClientIP, now: h.now,
		asker: &vouch.Asker{MinScore: o.MinScore, KeepHolder: o.ExposeAccountHolder, MaxAge: time.Duration(o.MaxAge), Observe: observer.nameAsked, Now: h.now},
	}
}

// authorizationRequest is the part of auth links that all logins share.
func (h *Handler) authorizationRequest() authserver.AuthorizationRequest {
	return authserver.AuthorizationRequest{
		RedirectURI: h.RedirectURI, Scopes: h.Scopes, Providers: h.Providers, ProviderID: h.ProviderID, Params: h.AuthParam,
	}
}
