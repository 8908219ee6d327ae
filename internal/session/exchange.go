package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// exchangeTimeout bounds an exchange, the wait for its turn included.
	exchangeTimeout = 20 * time.Second
	// firstPause is how long an exchange waits after a 429 without a Retry-After
	// before it is tried again. It doubles with each further one.
	firstPause = time.Second
)

// Login is a login that has come back from the bank with a code.
type Login struct {
	State       string
	RedirectURI string            // the one in the auth link
	Verifier    authserver.Secret // of PKCE; zero if it is off
	Started     time.Time
	Expires     time.Time
}

// Begun is a session that has begun.
type Begun struct {
	Secret Secret    // for the cookie
	Ends   time.Time // at the latest, if it is not used again
}

var errLoginUsed = &Error{Kind: LoginUsed, Cause: errors.New("the login's code was sent before")}

// Begin begins a session with the code that a login has brought. It sends the code
// once, whoever calls it how often and on which node. A call that is repeated within
// a minute is given the same session, unless its visitor has signed out.
func (m *Manager) Begin(ctx context.Context, l Login, code string, network netip.Prefix) (Begun, error) {
	o, err := m.Shared.exchangeOnce(ctx, m.Label.claimID(l.State), network, m.Now, func(ctx context.Context) (*exchangeResult, error) {
		return m.exchange(ctx, l, code, network)
	})
	if err != nil {
		return Begun{}, exchangeError(err)
	}
	if o.delivered.Swap(true) {
		s, err := m.load(ctx, &o.Secret, m.Now())
		if err != nil {
			return Begun{}, err
		}
		if s == nil {
			return Begun{}, errLoginUsed
		}
	}
	return o.Begun, nil
}

// exchange takes the login's code to the token endpoint and begins a session.
// Claiming the login first makes sure that no other node or process sends the
// code as well, and that there is room for a session before the code is spent.
func (m *Manager) exchange(ctx context.Context, l Login, code string, network netip.Prefix) (*exchangeResult, error) {
	if err := m.awaitPause(ctx, network); err != nil {
		return nil, err
	}
	c, err := m.claim(ctx, l)
	if err != nil {
		return nil, err
	}
	token, err := m.sendCode(ctx, l, code, network)
	if err != nil {
		m.settle(ctx, c, err, network)
		return nil, exchangeError(err)
	}
	result, err := m.accept(ctx, c, token)
	if err != nil {
		m.deleteRecord(ctx, c.session)
		return nil, err
	}
	return result, nil
}

// sendCode sends the code to the token endpoint, again only after an answer that
// asks for fewer requests: nothing was done about the one that it answers (RFC
// 6585 section 4).
func (m *Manager) sendCode(ctx context.Context, l Login, code string, network netip.Prefix) (authserver.Token, error) {
	for pause := firstPause; ; pause *= 2 {
		token, err := m.Client.Exchange(ctx, code, l.RedirectURI, l.Verifier)
		answer, ok := errors.AsType[*authserver.Error](err)
		if !ok || answer.Status != http.StatusTooManyRequests {
			return token, err
		}
		m.Shared.refusals.spend(network, m.Now())
		m.Shared.pauseLogins(m.Client.ID, network, m.Now(), max(answer.RetryAfter, pause))
		if err := m.awaitPause(ctx, network); err != nil {
			return token, err
		}
	}
}

// awaitPause waits while the auth server wants this client to send no codes of the
// network. If
// that is longer than ctx lasts it fails at once, so that the visitor can come again
// with the code.
func (m *Manager) awaitPause(ctx context.Context, network netip.Prefix) error {
	for {
		left := m.Shared.loginPauseLeft(m.Client.ID, network, m.Now())
		if left <= 0 {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= left || !flight.Sleep(ctx, left) {
			return &Error{Kind: TooManyLogins, Cause: errPaused, RetryAfter: left}
		}
	}
}

var errPaused = errors.New("the auth server wants fewer requests of this client")

// accept checks a token and puts its session in the place that was reserved.
func (m *Manager) accept(ctx context.Context, c *claim, token authserver.Token) (*exchangeResult, error) {
	if err := m.checkScopes(token.Scopes); err != nil {
		return nil, &Error{Kind: ScopeRefused, Cause: err}
	}
	if m.Verifier != nil {
		err := m.Verifier.Verify(ctx, token.Access)
		if errors.Is(err, authserver.ErrKeysUnavailable) {
			return nil, &Error{Kind: TokenUnverified, Cause: err}
		}
		if err != nil {
			return nil, &Error{Kind: TokenRefused, Cause: err}
		}
	}
	return m.create(ctx, c, token)
}

// checkScopes compares the granted scopes with the ones asked for. Banks
// differ in what they can grant, so a part is accepted and shown to the
// application in a placeholder; none at all is no connection. offline_access
// is not data.
func (m *Manager) checkScopes(granted []string) error {
	if granted == nil || slices.Equal(granted, m.Scopes) {
		return nil
	}
	m.Logger.Info("the granted scopes differ from the ones asked for",
		zap.Strings("granted", granted), zap.Strings("asked", m.Scopes))
	for _, scope := range m.Scopes {
		if scope != "offline_access" && slices.Contains(granted, scope) {
			return nil
		}
	}
	return errors.New("none of the scopes asked for was granted; check which scopes TrueLayer has enabled for the client id")
}

// create writes the session for the token, in the place of the claim's reservation.
// The cookie's secret is a new one: an id that a client brought is never adopted.
func (m *Manager) create(ctx context.Context, c *claim, token authserver.Token) (*exchangeResult, error) {
	now := m.Now()
	b := body{
		created:     now,
		lastSeen:    now,
		ConsentEnds: now.Add(consentLifetime),
		Connection:  token.Claims.Subject,
		Provider:    token.Claims.Provider,
		Scopes:      strings.Join(m.Scopes, " "),
	}
	b.applyToken(token)
	m.logAssumedExpiry(zap.InfoLevel, token)
	if b.Connection == "" {
		b.Connection, b.randomConnection = rand.Text(), true
	}
	if b.Provider == "" {
		b.Provider = m.ProviderID
	}
	end := m.expiry(&b, now)
	record, err := b.seal(&m.Label, &c.secret, siteDigest(m.Site), m.Client.ID, end)
	if err != nil {
		return nil, storeError(err)
	}
	err = m.Store.Replace(ctx, c.session, c.reservation, record, end.Sub(now))
	if errors.Is(err, fs.ErrNotExist) { // the reservation has expired
		err = m.Store.Create(ctx, c.session, record, end.Sub(now))
	}
	if err != nil {
		return nil, storeError(err)
	}
	return &exchangeResult{Begun: Begun{Secret: c.secret, Ends: earlier(end, b.ConsentEnds)}}, nil
}

// exchangeError tells what the visitor can mend from what the operator has
// to, by the parsed error code (RFC 6749 section 5.2 and TrueLayer's own), and
// both from an endpoint that gave no answer to the request.
func exchangeError(err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if errors.Is(err, flight.ErrBusy) {
		return &Error{Kind: TooManyLogins, Cause: err}
	}
	answer, ok := errors.AsType[*authserver.Error](err)
	if !ok || answer.Code == "" || answer.Status/100 != 4 {
		return &Error{Kind: AuthServerFailed, Cause: err}
	}
	switch answer.Code {
	case "invalid_client", "unauthorized_client":
		return &Error{Kind: ClientRefused, Cause: fmt.Errorf("%w; check client_id, client_secret and environment", err)}
	case "unauthorized":
		return &Error{Kind: ClientRefused, Cause: fmt.Errorf("%w; check client_id, client_secret and environment; TrueLayer also answers this way to too many requests", err)}
	case "invalid_scope":
		return &Error{Kind: ScopeRefused, Cause: fmt.Errorf("%w; check which scopes TrueLayer has enabled for the client id", err)}
	}
	return &Error{Kind: CodeRefused, Cause: err}
}
