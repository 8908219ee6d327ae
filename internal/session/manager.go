// Package session implements the sessions of visitors: their records in a store, how
// they begin with a code from the bank, how their access tokens are refreshed, and how
// they end. It uses a store, the auth server and a clock, and does not depend on Caddy
// or on the requests that sessions are for.
package session

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/patrickmn/go-cache"
	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// touchDivisor limits how often a session's use is written to the store: once in a
	// thirty-second part of the idle timeout, since more writes would be most of a
	// store's work. An idle session lasts longer by as much, so that none ends early.
	touchDivisor = 32
	// touchTimeout bounds such a write.
	touchTimeout = 10 * time.Second
	// endedLifetime is how long the session of a connection that has ended is kept, so
	// that the visitor can be told.
	endedLifetime = 24 * time.Hour
	// ConsentLifetime is how long a consent lasts if the token does not say
	// (TrueLayer: 90 days).
	ConsentLifetime = 90 * 24 * time.Hour
)

// Manager finds, begins, refreshes and ends the sessions of one block. Its errors are of
// type *Error. Its fields must not be changed once it is used.
type Manager struct {
	Store    Store
	Client   *authserver.Client
	Verifier *authserver.Verifier // nil: access tokens are not checked
	Shared   *Shared
	Observer Observer
	Logger   *zap.Logger
	Now      func() time.Time

	// Label ties the block's ids and keys to its configuration.
	Label Label
	// Site is the host and path of the block's redirect URI.
	Site string
	// ProviderID is the only bank, "" if visitors choose one.
	ProviderID string

	IdleTimeout    time.Duration
	MaxLifetime    time.Duration
	RefreshBefore  time.Duration // 0: see refreshFrom
	RefreshTimeout time.Duration
}

// Find returns the session of the first secret that has one, and notes that it is in
// use. It returns nil if no secret has a session. An error means that the store failed, or
// that an operator has ended the session (see IsRevoked).
func (m *Manager) Find(ctx context.Context, secrets []Secret, now time.Time) (*Session, error) {
	s, err := m.Look(ctx, secrets, now)
	if s != nil && !s.IsOver(now) {
		m.touch(ctx, s, now)
	}
	return s, err
}

// Look is like Find but does not note that the session is in use.
func (m *Manager) Look(ctx context.Context, secrets []Secret, now time.Time) (*Session, error) {
	var revoked error
	for i := range secrets {
		s, err := m.load(ctx, &secrets[i], now)
		if IsRevoked(err) {
			revoked = err // another secret may have a session
			continue
		}
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, revoked
}

// load returns the session with a secret, or nil.
func (m *Manager) load(ctx context.Context, secret *Secret, now time.Time) (*Session, error) {
	id := m.Label.SessionID(secret)
	record, err := m.Store.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	if _, ended := readTombstone(record); ended {
		return nil, errRevoked
	}
	return m.openRecord(id, secret, record, now), nil
}

// openRecord returns the session in a record. It returns nil if the record cannot be
// opened with the secret, or if the session has ended.
func (m *Manager) openRecord(id string, secret *Secret, record []byte, now time.Time) *Session {
	s := m.Shared.opened.get(id, record)
	if s == nil {
		opened, err := open(record, &m.Label, secret, id)
		if err != nil {
			// the id was right, so another release or somebody else wrote into the store
			m.Logger.Error("opening a session's record failed", zap.Error(err))
			return nil
		}
		s = &Session{body: opened, id: id, secret: *secret, record: record}
		m.Shared.opened.put(s)
	}
	if !now.Before(m.expiry(&s.body, now)) {
		return nil
	}
	return s
}

// Ends returns when the session or its consent ends if it is not used again.
func (m *Manager) Ends(s *Session, now time.Time) time.Time {
	return earlier(m.expiry(&s.body, now), s.ConsentEnds)
}

// expiry returns when a session's record expires. That depends on the times in the
// sealed body and on the current configuration, so a shorter lifetime also applies to
// sessions that began under a longer one.
func (m *Manager) expiry(b *body, now time.Time) time.Time {
	absolute := b.created.Add(m.MaxLifetime)
	if b.consentOver {
		return earlier(absolute, b.TokenExpires.Add(endedLifetime))
	}
	// a last use in the future was noted before the clock was set back, and counts as now
	end := earlier(absolute, earlier(b.lastSeen, now).Add(m.IdleTimeout+m.IdleTimeout/touchDivisor))
	if b.refreshToken.Reveal() == "" {
		end = earlier(end, b.tokenEnds())
	}
	return end
}

// replace writes a session's changed body to the store. Its errors are the store's.
func (m *Manager) replace(ctx context.Context, s *Session, changed body) (*Session, error) {
	now := m.Now()
	end := m.expiry(&changed, now)
	if !now.Before(end) {
		return nil, fs.ErrNotExist // it has ended meanwhile
	}
	record, err := changed.seal(&m.Label, &s.secret, siteDigest(m.Site), m.Client.ID, end)
	if err != nil {
		return nil, err
	}
	if err := m.Store.Replace(ctx, s.id, s.record, record, end.Sub(now)); err != nil {
		return nil, err
	}
	return &Session{body: changed, id: s.id, secret: s.secret, record: record}, nil
}

// isLost reports whether a Replace lost against another write. That is no failure: the
// other write was newer, or the session is gone.
func isLost(err error) bool { return errors.Is(err, ErrConflict) || errors.Is(err, fs.ErrNotExist) }

// touch notes in the store that the session is in use, unless that was done recently. It
// writes in the background, since a store may be slow. The interval is shortened by up
// to a quarter, so that sessions that began together are not all written together.
func (m *Manager) touch(ctx context.Context, s *Session, now time.Time) {
	interval := m.IdleTimeout / touchDivisor
	// a last use far in the future was noted before the clock was set back
	if age := now.Sub(s.lastSeen); age > -interval && age < interval-interval/4*time.Duration(s.id[0])/256 {
		return
	}
	m.Shared.Touches.BeginIfFree(ctx, s.id, touchTimeout, func(ctx context.Context) { m.writeTouch(ctx, s, now) })
}

func (m *Manager) writeTouch(ctx context.Context, s *Session, now time.Time) {
	changed := s.body
	changed.lastSeen = now
	if _, err := m.replace(ctx, s, changed); err != nil && !isLost(err) {
		m.Logger.Warn("noting that a session is in use failed", zap.Error(err))
	}
}

// await waits for work, and tells the observer.
func (m *Manager) await(ctx context.Context, work Work, f *flight.Flight) (any, error) {
	defer m.Observer.Waits(ctx, work, f.Starter)()
	return f.Await(ctx)
}

// tellEnded tells the observer that a session has ended, once for each cause. A browser that
// repeats a request at once would otherwise end its session twice.
func (m *Manager) tellEnded(ctx context.Context, s *Session, cause Cause) {
	if m.Shared.ended.Add(string(cause)+s.id, nil, cache.DefaultExpiration) == nil {
		m.Observer.SessionEnded(ctx, s, cause)
	}
}
