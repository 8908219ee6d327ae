package truelayer

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/samplelog"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// Provision checks the configuration and sets the handler up. It waits for no
// answer from the network.
func (h *Handler) Provision(ctx caddy.Context) error {
	if h.now == nil {
		h.now = time.Now
	}
	h.logger = samplelog.New(ctx.Logger(), h.now)
	h.server, _ = ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	asked := h.IdleTimeout != 0 || h.MaxLifetime != 0
	redirect, err := h.prepareOptions()
	if err != nil {
		return err
	}
	clientID, secret, err := h.expandCredentials()
	if err != nil {
		return err
	}
	if !warnOfCallback(ctx, redirect, http.CanonicalHeaderKey(h.TokenHeader.Field), h.logger) {
		warnOfBypass(ctx, h.RedirectURI, h.logger)
	}
	guards := h.guards()
	if err := h.loadModules(ctx); err != nil {
		return err
	}
	h.warn(clientID, asked)
	client := &authserver.Client{ID: clientID, Secret: secret, Now: h.now}
	sessions := h.newSessions(redirect, client)
	observer, err := h.observe(ctx, sessions)
	if err != nil {
		return err
	}
	h.banks = &bankChoice{providers: h.Providers, only: h.ProviderID}
	if h.site, err = h.newSite(redirect, sessions, observer); err != nil {
		return err
	}
	if err := h.connect(client); err != nil {
		return err
	}
	if err := h.registerMetrics(ctx.GetMetricsRegistry(), observer.metrics); err != nil {
		return err
	}
	h.logStart(guards)
	h.checkStore()
	joinLiveBlocks(h)
	h.release = append(h.release, func() error {
		leaveLiveBlocks(h)
		return nil
	})
	return nil
}

// loadModules loads the matcher and the store.
func (h *Handler) loadModules(ctx caddy.Context) error {
	matchers, err := ctx.LoadModule(h, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading the matcher: %w", err)
	}
	if matchers != nil {
		if err := h.match.FromInterface(matchers); err != nil {
			return fmt.Errorf("loading the matcher: %w", err)
		}
	}
	guest, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	store, ok := guest.(TokenStore)
	if !ok {
		return fmt.Errorf("store: %T is not a TokenStore", guest)
	}
	h.store = store
	return nil
}

// newSessions returns what finds and keeps the block's sessions.
func (h *Handler) newSessions(redirect *url.URL, client *authserver.Client) *session.Manager {
	tied := []string{h.AuthServer, client.ID, strings.Join(h.Scopes, " "), h.ProviderID}
	if h.VerifyAccessToken != "" {
		// a session whose token nobody has checked must not pass for one of these
		tied = append(tied, h.VerifyAccessToken, h.Issuer)
	}
	h.sessions = &session.Manager{
		Store:          observe(h.store, storeMetricsOf(h.storeType())),
		Client:         client,
		Logger:         h.logger,
		Now:            h.now,
		Label:          session.NewLabel(tied...),
		Site:           redirect.Host + redirect.Path,
		ProviderID:     h.ProviderID,
		IdleTimeout:    time.Duration(h.IdleTimeout),
		MaxLifetime:    time.Duration(h.MaxLifetime),
		RefreshBefore:  time.Duration(h.RefreshBefore),
		RefreshTimeout: time.Duration(h.RefreshTimeout),
	}
	if h.VerifyAccessToken != "" {
		h.sessions.Verifier = authserver.NewVerifier(h.VerifyAccessToken, h.Issuer, client.ID, h.now)
	}
	return h.sessions
}

// observe sets up what counts, traces and writes down what happens at the block's site.
func (h *Handler) observe(ctx caddy.Context, sessions *session.Manager) (*siteObserver, error) {
	value, _, err := sites.LoadOrNew(sessions.Site, func() (caddy.Destructor, error) { return newSiteMetrics(sessions.Site), nil })
	if err != nil {
		return nil, err
	}
	h.release = append(h.release, func() error {
		_, err := sites.Delete(sessions.Site)
		return err
	})
	metrics := value.(*siteMetrics)
	metrics.expect(h.ProviderID)
	audit := &auditTrail{ctx.Logger().Named("audit"), sessions.Site, newEventQueue(ctx, metrics.eventsDropped)}
	o := &siteObserver{metrics, audit, h.logger, h.now}
	sessions.Observer, sessions.Client.Observe = o, o.tokenRequest
	return o, nil
}

// registerMetrics adds the block's metrics to the configuration's registry, which may be
// scraped from now on.
func (h *Handler) registerMetrics(registry *prometheus.Registry, site *siteMetrics) error {
	for _, collector := range []prometheus.Collector{site, storeMetricsOf(h.storeType()), inFlight{authServers}, newPaused(h.sessions, h.now)} {
		if err := register(registry, collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// newSite wires what serves the block's requests.
func (h *Handler) newSite(redirect *url.URL, sessions *session.Manager, observer *siteObserver) (*site, error) {
	addresses := newAddresses(redirect)
	origins, err := newOrigins(addresses.origin, h.AllowOrigins)
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
		responder:    &responder{origins, &headerChecker{logger: h.logger}, observer},
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
	if h.VerifyName != nil {
		s.guard.names = h.newNameVerifier(observer)
		if h.VerifyName.Name == "" {
			s.login.asksName = true
			s.name = &namePage{s.failureResponder, sessions, pageForms{&s.cookies, newSealer(sessions.Client.Secret, "name form v1 of "+h.RedirectURI, sessions.Label)}}
		}
	}
	if h.BankPicker != nil && h.ProviderID == "" { // there is nothing to choose otherwise
		s.login.picks, s.login.remembers = true, h.BankPicker.Remember
		s.banks = &bankPicker{s.failureResponder, sessions, h.banks, &s.cookies, h.BankPicker.Remember}
	}
	if h.Consent != nil {
		s.login.consents = true
		s.consent = h.newConsentPage(s, observer)
	}
	logoutURL := ""
	if !slices.Contains(h.Disable, disableLogout) {
		s.logout = &logout{
			failureResponder: s.failureResponder, sessions: sessions, logins: logins,
			next: h.LogoutRedirect, disconnect: slices.Contains(h.DisconnectOn, disconnectOnLogout),
		}
		logoutURL = addresses.origin + addresses.logout
		s.signOut = logoutURL
	}
	if !slices.Contains(h.Disable, disableSession) {
		s.session = &sessionEndpoint{s.failureResponder, sessions, logoutURL}
	}
	return s, nil
}

// newConsentPage wires the page on which visitors consent.
func (h *Handler) newConsentPage(s *site, observer *siteObserver) *consentPage {
	endsAtLogout := s.logout != nil && slices.Contains(h.DisconnectOn, disconnectOnLogout)
	text := pages.NewConsentText(h.Consent.Controller, h.Consent.Purpose, h.Consent.TermsURL, h.Scopes, endsAtLogout)
	client := h.sessions.Client
	return &consentPage{
		failureResponder: s.failureResponder, sessions: h.sessions, login: s.login, choice: h.banks,
		forms:      pageForms{&s.cookies, newSealer(client.Secret, "consent form v1 of "+h.RedirectURI, h.sessions.Label)},
		controller: h.Consent.Controller, text: text, digest: text.Digest(), user: userPlaceholders{h.Consent.User.Name, h.Consent.User.Email},
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

// authServers holds what the blocks of the process that use one auth server share,
// by its address. It is kept over reloads of the configuration.
var authServers = caddy.NewUsagePool()

// connect takes the handler's share of the auth server, and joins the blocks of its
// host. It is the last step of Provision that can fail: Cleanup, which Caddy calls
// after a failed Provision as well, gives back what was taken.
func (h *Handler) connect(client *authserver.Client) error {
	value, _, err := authServers.LoadOrNew(h.AuthServer, func() (caddy.Destructor, error) { return session.NewShared(h.AuthServer), nil })
	if err != nil {
		return err
	}
	h.release = append(h.release, func() error {
		_, err := authServers.Delete(h.AuthServer)
		return err
	})
	h.sessions.Shared = value.(*session.Shared)
	client.Server = h.sessions.Shared.Server
	if err := h.connectBanks(client); err != nil {
		return err
	}

	host, cookie := h.site.addresses.host, ""
	if h.CookieName != "" {
		cookie = h.site.cookies.session
	}
	cookies, err := joinHost(host, cookie)
	if err != nil {
		return err
	}
	h.release = append(h.release, func() error { return leaveHost(host, cookies, cookie) })
	h.site.cookies.host = cookies
	return nil
}

// connectBanks takes the handler's share of the list of banks of its client.
func (h *Handler) connectBanks(client *authserver.Client) error {
	key := h.AuthServer + " " + client.ID
	value, _, err := bankLists.LoadOrNew(key, func() (caddy.Destructor, error) {
		keeper := banks.NewKeeper(client.Server, client.ID, h.logger, h.now)
		return &bankList{keeper, banks.NewLogos(keeper), flight.NewFair(bankLinkBounds, h.now)}, nil
	})
	if err != nil {
		return err
	}
	h.release = append(h.release, func() error {
		_, err := bankLists.Delete(key)
		return err
	})
	h.banks.bankList = value.(*bankList)
	h.banks.keeper.LogTo(h.logger)
	if page := h.site.consent; page != nil {
		page.links.requests = h.banks.links
	}
	return h.connectAPI(client)
}

// connectAPI takes the handler's share of the questions to the Verification API about
// names.
func (h *Handler) connectAPI(client *authserver.Client) error {
	if h.VerifyName == nil {
		return nil
	}
	key := h.VerifyName.API + " " + client.ID
	value, _, err := verifyAPIs.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &verifyAPI{authserver.NewServer(h.VerifyName.API), vouch.NewShared(h.now)}, nil
	})
	if err != nil {
		return err
	}
	h.release = append(h.release, func() error {
		_, err := verifyAPIs.Delete(key)
		return err
	})
	api := value.(*verifyAPI)
	h.site.guard.names.asker.API, h.site.guard.names.asker.Shared = api.server, api.shared
	return nil
}

// Cleanup gives back what Provision took. Requests may outlive it: they go on
// with the connections and the store that they have.
func (h *Handler) Cleanup() error {
	if h.sessions != nil && h.sessions.Verifier != nil {
		h.sessions.Verifier.CloseIdleConnections()
	}
	var failed error
	for _, release := range h.release {
		failed = errors.Join(failed, release())
	}
	h.release = nil
	return failed
}

// expandCredentials expands the client's id and secret. Its errors repeat
// neither.
func (h *Handler) expandCredentials() (id string, secret authserver.Secret, err error) {
	if id, err = expand("client_id", h.ClientID); err != nil {
		return "", authserver.Secret{}, err
	}
	if h.ClientSecret == nil {
		return "", authserver.Secret{}, errors.New("client_secret is missing: set it to the secret from TrueLayer's Console, best as {env.TRUELAYER_CLIENT_SECRET}")
	}
	text, err := expand("client_secret", *h.ClientSecret)
	return id, authserver.NewSecret(text), err
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Handler)(nil)
	_ caddy.CleanerUpper = (*Handler)(nil)
)
