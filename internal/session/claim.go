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

// A claim is the record that says that a login's code has been taken to the token
// endpoint. It is there for as long as sending the code again could do harm:
//
//   - The exchange brought a session: until the login could not be ended anyway. A
//     code that comes again may make the auth server revoke what it gave for it
//     (RFC 6749 section 4.1.2).
//   - Nobody knows, since the answer was lost or was an error of the server: for as
//     long as a code may be good.
//   - The code was refused, or cannot have got there: no longer. What was refused
//     this process remembers for a minute, see outcome.
//
// Beside it, while the exchange runs, is a reservation: a record under the id that
// the session will have. A store that is full says so before the code is spent.
const (
	// claimAllowance is what a claim outlives its login by: clocks differ.
	claimAllowance = time.Minute
	// uncertainClaimLifetime is how long a code may be good: RFC 6749 section 4.1.2
	// recommends ten minutes at most, TrueLayer's last five.
	uncertainClaimLifetime = 10 * time.Minute
	// reservationLifetime is longer than an exchange takes.
	reservationLifetime = 2 * time.Minute
	// tidyTimeout bounds what is done to the store behind an exchange.
	cleanUpTimeout = 10 * time.Second
)

// claim is a login's claim with the reservation of its session.
type claim struct {
	id      string
	record  []byte
	started time.Time // when the login was
	expires time.Time

	secret      Secret
	session     string // the id under which the session will be
	reservation []byte
}

// claim claims the login and reserves its session.
func (m *Manager) claim(ctx context.Context, l Login) (*claim, error) {
	now := m.Now()
	c := &claim{id: m.Label.claimID(l.State), started: l.Started, expires: l.Expires.Add(claimAllowance), secret: NewSecret()}
	c.record = headerRecord(kindClaim, m.Client.ID, c.started, c.expires)
	err := m.Store.Create(ctx, c.id, c.record, c.expires.Sub(now))
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, errLoginUsed
	case err != nil:
		// it may have been written all the same; a claim that is there may as well be
		// another node's, which is sending the code
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

// settle decides what stays of a claim whose exchange brought no token.
func (m *Manager) settle(ctx context.Context, c *claim, err error, network netip.Prefix) {
	m.deleteRecord(ctx, c.session)
	answer, answered := errors.AsType[*authserver.Error](err)
	switch {
	case !answered || answer.Unsent || answer.Status == http.StatusTooManyRequests:
		m.releaseClaim(ctx, c)
	case answer.Status/100 == 4:
		m.releaseClaim(ctx, c)
		m.Shared.rememberOutcome(c.id, outcome{err: exchangeError(err)})
		m.Shared.refusals.spend(network, m.Now())
	default:
		m.keepUncertain(ctx, c, network)
	}
}

// keepUncertain lets a claim of which nobody knows whether its code was used last
// for as long as the code may be good. Of too many of them the oldest is forgotten.
func (m *Manager) keepUncertain(ctx context.Context, c *claim, network netip.Prefix) {
	now := m.Now()
	if c.expires.Sub(now) > uncertainClaimLifetime {
		// with the same bytes, so that takeBack knows them
		m.cleanUp(ctx, "shorten "+c.id, func(ctx context.Context) error {
			return m.Store.Replace(ctx, c.id, c.record, c.record, uncertainClaimLifetime)
		})
	}
	for _, forget := range m.Shared.uncertain.add(network, now, func(ctx context.Context) { m.expireClaim(ctx, c) }) {
		forget(ctx)
	}
}

// giveBack ends a claim that is there, so that its code can be sent.
func (m *Manager) releaseClaim(ctx context.Context, c *claim) {
	if ctx.Err() != nil || m.Store.Delete(ctx, c.id) != nil {
		m.expireClaim(ctx, c)
	}
}

// takeBack ends a claim if it is still the one that this process has made. It is a
// compare-and-swap with a record that expires at once: what is done late, or again
// since an answer was lost, must not end a claim that another node has made since.
func (m *Manager) expireClaim(ctx context.Context, c *claim) {
	m.cleanUp(ctx, "take back "+c.id, func(ctx context.Context) error {
		if err := m.Store.Replace(ctx, c.id, c.record, c.record, time.Millisecond); !isLost(err) {
			return err
		}
		return nil
	})
}

// forget deletes a record that nobody else can have written.
func (m *Manager) deleteRecord(ctx context.Context, id string) {
	m.cleanUp(ctx, "forget "+id, func(ctx context.Context) error { return m.Store.Delete(ctx, id) })
}

// tidy does something to the store that can be left undone, since every record
// expires by itself: in the exchange's time, or behind it if that is over.
func (m *Manager) cleanUp(ctx context.Context, key string, do func(context.Context) error) {
	if ctx.Err() == nil && do(ctx) == nil {
		return
	}
	// all exchanges may end at once, so that each waits for its slot
	m.Shared.Touches.Begin(key, cleanUpTimeout, func(ctx context.Context) (any, error) { return nil, do(ctx) })
}
