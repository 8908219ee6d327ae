package truelayer

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
//     this process remembers for a minute (see authServer.outcomes).
//
// Beside it, while the exchange runs, is a reservation: a record under the id that
// the session will have. A store that is full says so before the code is spent.
const (
	// uncertainClaimLifetime is how long a code may be good: RFC 6749 section 4.1.2
	// recommends ten minutes at most, TrueLayer's last five.
	uncertainClaimLifetime = 10 * time.Minute
	// reservationLifetime is longer than an exchange takes.
	reservationLifetime = 2 * time.Minute
	// tidyTimeout bounds what is done to the store behind an exchange.
	tidyTimeout = 10 * time.Second
)

// claim is a login's claim with the reservation of its session.
type claim struct {
	id      string
	record  []byte
	started time.Time

	secret      cookieSecret
	session     string // the id under which the session will be
	reservation []byte
}

// claimID is the id of a login's claim.
func (h *Handler) claimID(state string) string {
	id := h.label.derive("claim", []byte(state)[:min(len(state), 43)])
	return string(id[:])
}

// claim claims the login and reserves its session. Its errors are failures.
func (h *Handler) claim(ctx context.Context, l *login) (*claim, error) {
	now := h.now()
	expires := l.started.Add(loginLifetime + time.Minute)
	c := &claim{id: h.claimID(l.state), started: l.started, secret: newCookieSecret()}
	c.record = headerRecord(kindClaim, h.client.ID, l.started, expires)
	err := h.store.Create(ctx, c.id, c.record, expires.Sub(now))
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, failure{reason: loginUsed}
	case err != nil:
		// a claim that is there may be another node's, which is sending the code
		return nil, storeFailure(err)
	}
	c.session = h.label.sessionID(&c.secret)
	c.reservation = headerRecord(kindReservation, h.client.ID, now, now.Add(reservationLifetime))
	if err := h.store.Create(ctx, c.session, c.reservation, reservationLifetime); err != nil {
		h.forget(ctx, c.session)
		h.forget(ctx, c.id)
		return nil, storeFailure(err)
	}
	return c, nil
}

// settle decides what stays of a claim whose exchange brought no token.
func (h *Handler) settle(ctx context.Context, c *claim, err error, network netip.Prefix) {
	h.forget(ctx, c.session)
	answer, answered := errors.AsType[*authserver.Error](err)
	switch {
	case !answered || answer.Unsent || answer.Status == http.StatusTooManyRequests:
		h.forget(ctx, c.id)
	case answer.Status/100 == 4:
		h.forget(ctx, c.id)
		h.auth.remember(c.id, outcome{err: exchangeFailure(err)})
		h.auth.refusals.spend(network, h.now())
	default:
		h.keepUncertain(ctx, c, network)
	}
}

// keepUncertain lets a claim of which nobody knows whether its code was used last
// for as long as the code may be good. Of too many of them the oldest is forgotten.
func (h *Handler) keepUncertain(ctx context.Context, c *claim, network netip.Prefix) {
	now := h.now()
	if left := c.started.Add(loginLifetime + time.Minute).Sub(now); left > uncertainClaimLifetime {
		record := headerRecord(kindClaim, h.client.ID, c.started, now.Add(uncertainClaimLifetime))
		h.tidy(ctx, "shorten "+c.id, func(ctx context.Context) error {
			return h.store.Replace(ctx, c.id, c.record, record, uncertainClaimLifetime)
		})
	}
	for _, forget := range h.auth.uncertain.add(network, now, func(ctx context.Context) { h.forget(ctx, c.id) }) {
		forget(ctx)
	}
}

// forget deletes a record.
func (h *Handler) forget(ctx context.Context, id string) {
	h.tidy(ctx, "forget "+id, func(ctx context.Context) error { return h.store.Delete(ctx, id) })
}

// tidy does something to the store that can be left undone, since every record
// expires by itself: in the exchange's time, or behind it if that is over.
func (h *Handler) tidy(ctx context.Context, key string, do func(context.Context) error) {
	if ctx.Err() == nil && do(ctx) == nil {
		return
	}
	// all exchanges may end at once, so that each waits for its slot
	h.auth.touches.Begin(key, tidyTimeout, func(ctx context.Context) (any, error) { return nil, do(ctx) })
}
