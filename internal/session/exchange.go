package session

import (
	"context"
	"crypto/rand"
	"errors"
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
	// firstPause is how long an exchange waits after a first 429 without Retry-After.
	// The pause doubles with each further one.
	firstPause = time.Second
)

// Begin begins a session with a login's code. It sends the code only once, however often
// and on however many nodes it is called. A call that is repeated within a minute
// returns the same session, unless its visitor has signed out.
func (m *Manager) Begin(ctx context.Context, l Login, code string, network netip.Prefix) (Begun, error) {
	o, err := m.exchangeOnce(ctx, m.Label.claimID(l.State), network, func(ctx context.Context) (*exchangeResult, error) {
		result, err := m.exchange(ctx, l, code, network)
		if err != nil {
			m.Observer.LoginFailed(ctx, l.Provider, exchangeError(err))
		}
		return result, err
	})
	if err != nil {
		return Begun{}, exchangeError(err)
	}
	begun := o.Begun
	if begun.Repeated = o.delivered.Swap(true); begun.Repeated {
		s, err := m.load(ctx, &o.Secret, m.Now())
		if err != nil {
			return Begun{}, err
		}
		if s == nil {
			return Begun{}, errLoginUsed
		}
	}
	return begun, nil
}

// exchange sends the login's code to the token endpoint and begins a session. It claims
// the login first, so that no other process or node sends the code as well, and so that
// the store has room for the session before the code is spent.
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
	result, err := m.accept(ctx, l, c, token)
	if err != nil {
		m.deleteRecord(ctx, c.session)
		return nil, err
	}
	return result, nil
}

// sendCode sends the code to the token endpoint. It sends the code again only after a
// 429, which means that the endpoint has not processed the request (RFC 6585 section
// 4).
func (m *Manager) sendCode(ctx context.Context, l Login, code string, network netip.Prefix) (authserver.Token, error) {
	for pause := firstPause; ; pause *= 2 {
		token, err := m.Client.Exchange(ctx, code, l.RedirectURI, l.Verifier)
		answer, ok := errors.AsType[*authserver.Error](err)
		if !ok || answer.Status != http.StatusTooManyRequests {
			return token, err
		}
		m.Shared.refusals.Spend(network, m.Now())
		m.Shared.pauseLogins(m.Client.ID, network, m.Now(), max(answer.RetryAfter, pause))
		if err := m.awaitPause(ctx, network); err != nil {
			return token, err
		}
	}
}

// awaitPause waits until the pause that the auth server asked for is over. If ctx ends
// before that, it fails at once, so that the visitor can try again with the same code.
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

var errPaused = errors.New("the auth server asked this client to send fewer requests")

// accept checks a token and writes its session in the place of the reservation.
func (m *Manager) accept(ctx context.Context, l Login, c *claim, token authserver.Token) (*exchangeResult, error) {
	if err := m.checkScopes(c.scopes, token.Scopes); err != nil {
		return nil, &Error{Kind: ScopeRefused, Cause: err}
	}
	if err := m.verify(ctx, token); err != nil {
		return nil, err
	}
	return m.create(ctx, l, c, token)
}

// checkScopes compares the granted scopes with the ones asked for. Banks differ in what
// they can grant, so some of the scopes are enough; the application sees them in a
// placeholder. offline_access alone is not enough, since it gives access to no data.
func (m *Manager) checkScopes(asked, granted []string) error {
	if granted == nil || slices.Equal(granted, asked) {
		return nil
	}
	m.Logger.Info("the granted scopes differ from the ones asked for",
		zap.Strings("granted", granted), zap.Strings("asked", asked))
	for _, scope := range asked {
		if scope != "offline_access" && slices.Contains(granted, scope) {
			return nil
		}
	}
	return errors.New("none of the scopes asked for was granted; check which scopes TrueLayer has enabled for the client id")
}

// create writes the session for a token in the place of the claim's reservation. The
// cookie's secret is always a new one, never one that a client sent.
func (m *Manager) create(ctx context.Context, l Login, c *claim, token authserver.Token) (*exchangeResult, error) {
	now := m.Now()
	b := body{
		created:     now,
		lastSeen:    now,
		ConsentEnds: now.Add(ConsentLifetime),
		Connection:  token.Claims.Subject,
		Provider:    token.Claims.Provider,
		Scopes:      strings.Join(c.scopes, " "), // an answer without scope means these, RFC 6749 section 5.1
	}
	b.applyToken(token)
	m.logAssumedExpiry(zap.InfoLevel, token)
	if b.Connection == "" {
		b.Connection, b.randomConnection = rand.Text(), true
	}
	if b.Provider == "" {
		b.Provider = m.ProviderID
	}
	if l.Renews != nil && b.relationTo(&l.Renews.body) == SameConnection {
		b.Kept = l.Carry(l.Renews.Kept)
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
	m.Observer.SessionBegan(ctx, &Session{body: b, id: c.session, secret: c.secret, record: record})
	return &exchangeResult{Begun: Begun{
		Secret: c.secret, Ends: earlier(end, b.ConsentEnds), Connection: b.Connection, Provider: b.Provider,
	}}, nil
}
