package session

import (
	"context"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// watchInterval is how often a watched session is read from the store, for what other
	// processes have done to it. It is also how long its end takes to be noticed.
	watchInterval = 2 * time.Second
	// watchTimeout bounds such a read.
	watchTimeout = 10 * time.Second
)

// Watch calls end when the session has ended: by a logout, a revocation, its consent's end
// or its time. An end in this process is noticed at once, one in another process when the
// store tells it, at most watchInterval later. As long as the session is watched, it is in
// use. A store that fails ends nothing.
//
// End is called again in every watchInterval until stop is called, since what it does may
// not take effect at once. It is not called after stop has returned.
func (m *Manager) Watch(s *Session, end func()) (stop func()) {
	return m.Shared.watches.begin(s.id, m.untilLook(s), func() (ended bool, next time.Duration) { return m.hasEnded(s.secret) }, end)
}

// untilLook returns when a watched session is looked at next.
func (m *Manager) untilLook(s *Session) time.Duration {
	now := m.Now()
	return max(0, min(watchInterval, m.Ends(s, now).Sub(now)))
}

// hasEnded reports whether the session with a secret has ended, and when to look again.
func (m *Manager) hasEnded(secret Secret) (ended bool, next time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
	defer cancel()
	var s *Session
	err := flight.Safely(func() (err error) {
		s, err = m.Find(ctx, []Secret{secret}, m.Now())
		return err
	})
	switch {
	case IsRevoked(err):
		return true, watchInterval
	case err != nil: // the store has failed
		return false, watchInterval
	case s == nil || s.IsOver(m.Now()):
		return true, watchInterval
	}
	return false, m.untilLook(s)
}
