package session

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// A claim is a record in the store which says that a node is sending or has sent a
// login's code to the token endpoint. It stays for as long as sending the code again
// could do harm, which depends on how the exchange ended:
//
//   - With a session: the claim stays until the login expires, because the auth server
//     may revoke the tokens if the code is sent again (RFC 6749 section 4.1.2).
//   - With a lost response or a server error, so that the code may or may not have been
//     used: the claim stays for as long as the code may be valid.
//   - With a refusal, or without the code being sent: the claim is released at once.
//     This process remembers a refusal for a minute, see outcome.
//
// While the exchange runs there is also a reservation: a record under the id that the
// session will have. With it, a full store says so before the code is spent.
const (
	// claimAllowance is how long a claim outlives its login, since the clocks of nodes
	// differ.
	claimAllowance = time.Minute
	// reservationLifetime is longer than an exchange takes.
	reservationLifetime = 2 * time.Minute
	// cleanUpTimeout bounds a clean-up in the store after an exchange.
	cleanUpTimeout = 10 * time.Second
)

// Login is a login that has come back from the bank with a code.
type Login struct {
	State       string
	RedirectURI string            // the one in the auth link
	Verifier    authserver.Secret // of PKCE; zero if it is off
	Provider    string            // the bank of the auth link, "" if the visitor chose one
	Scopes      []string          // the ones asked for
	// Renews is the session whose place that of a renewal takes, nil if there is none. If the
	// new session is of the same connection, what Carry makes of Renews.Kept is kept with it.
	Renews  *Session
	Carry   func(kept string) string
	Started time.Time
	Expires time.Time
}

// claim is a login's claim with the reservation of its session.
type claim struct {
	id      string
	record  []byte
	started time.Time // when the login started
	expires time.Time
	scopes  []string // the login's

	secret      Secret
	session     string // the id that the session will have
	reservation []byte
}

// claim claims the login and reserves its session.
func (m *Manager) claim(ctx context.Context, l Login) (*claim, error) {
	now := m.Now()
	c := &claim{id: m.Label.claimID(l.State), started: l.Started, expires: l.Expires.Add(claimAllowance), scopes: l.Scopes, secret: NewSecret()}
	c.record = headerRecord(kindClaim, m.Client.ID, c.started, c.expires)
	err := m.Store.Create(ctx, c.id, c.record, c.expires.Sub(now))
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, errLoginUsed
	case err != nil:
		// the claim may have been written all the same, but a claim that is in the
		// store may also be that of another node, which is sending the code
		m.expireClaim(ctx, c)
		return nil, storeError(err)
	}
	c.session = m.Label.SessionID(&c.secret)
	c.reservation = headerRecord(kindReservation, m.Client.ID, now, now.Add(reservationLifetime))
	if err := m.Store.Create(ctx, c.session, c.reservation, reservationLifetime); err != nil {
		m.deleteRecord(ctx, c.session)
		m.releaseClaim(ctx, c)
		return nil, storeError(err)
	}
	return c, nil
}

// settle releases or keeps a claim whose exchange brought no token.
func (m *Manager) settle(ctx context.Context, c *claim, err error, network netip.Prefix) {
	m.deleteRecord(ctx, c.session)
	answer, answered := errors.AsType[*authserver.Error](err)
	switch {
	case !answered || answer.Unsent || answer.Status == http.StatusTooManyRequests:
		m.releaseClaim(ctx, c)
	case answer.Status/100 == 4:
		m.releaseClaim(ctx, c)
		m.Shared.rememberOutcome(c.id, outcome{err: exchangeError(err)})
		m.Shared.refusals.Spend(network, m.Now())
	default:
		m.keepUncertain(ctx, c, network)
	}
}

// keepUncertain keeps an uncertain claim for as long as its code may be valid. If there
// are too many such claims, it releases the oldest.
func (m *Manager) keepUncertain(ctx context.Context, c *claim, network netip.Prefix) {
	now := m.Now()
	if c.expires.Sub(now) > uncertainClaimLifetime {
		// the same bytes again, since expireClaim compares them
		m.cleanUp(ctx, "shorten "+c.id, func(ctx context.Context) error {
			return m.Store.Replace(ctx, c.id, c.record, c.record, uncertainClaimLifetime)
		})
	}
	for _, release := range m.Shared.uncertain.add(network, now, func(ctx context.Context) { m.expireClaim(ctx, c) }) {
		release(ctx)
	}
}

// releaseClaim deletes a claim that this process has made, so that the code may be sent
// again.
func (m *Manager) releaseClaim(ctx context.Context, c *claim) {
	if ctx.Err() != nil || m.Store.Delete(ctx, c.id) != nil {
		m.expireClaim(ctx, c)
	}
}

// expireClaim ends a claim if the record in the store is still this process's own. It
// compares and swaps the record for one that expires at once. A deletion that is late,
// or repeated after a lost response, could delete a claim that another node has made
// since.
func (m *Manager) expireClaim(ctx context.Context, c *claim) {
	m.cleanUp(ctx, "expire "+c.id, func(ctx context.Context) error {
		if err := m.Store.Replace(ctx, c.id, c.record, c.record, time.Millisecond); !isLost(err) {
			return err
		}
		return nil
	})
}

// deleteRecord deletes a record that nobody else can have written.
func (m *Manager) deleteRecord(ctx context.Context, id string) {
	m.cleanUp(ctx, "delete "+id, func(ctx context.Context) error { return m.Store.Delete(ctx, id) })
}

// cleanUp calls do, which changes something in the store. If the exchange's time is over
// or do fails, it calls do once more in the background. A failure does no lasting harm,
// since every record expires by itself.
func (m *Manager) cleanUp(ctx context.Context, key string, do func(context.Context) error) {
	if ctx.Err() == nil && do(ctx) == nil {
		return
	}
	// not BeginIfFree, which would drop clean-ups if many exchanges end at once
	m.Shared.Touches.Begin(ctx, key, cleanUpTimeout, func(ctx context.Context) (any, error) { return nil, do(ctx) })
}
