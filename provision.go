package truelayer

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
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
	asked := askedFor{lifetime: h.IdleTimeout != 0 || h.MaxLifetime != 0, renewal: h.RenewBefore != 0}
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
