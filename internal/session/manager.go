// Package session is what a session is, in a store and in time: its record, how it
// begins with a code from the bank, how its access token stays fresh, and how it
// ends. It knows a store, the auth server and a clock, and nothing of Caddy or of
// the requests that sessions are for.
package session

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	// touchShare is the part of the idle timeout in which a session's use is written
	// down once at most: a write for each minute would be most of what a store has to
	// do. A session that is not used lasts longer by as much, so that none ends early.
	touchDivisor = 32
	// touchTimeout bounds that write.
	touchTimeout = 10 * time.Second
	// endedLifetime is how long a connection that is over is remembered, for
	// the visitor to be told.
	endedLifetime = 24 * time.Hour
	// consentLifetime is how long a consent lasts if the token does not say
	// (TrueLayer: 90 days).
	consentLifetime = 90 * 24 * time.Hour
)

// Manager finds, begins, refreshes and ends the sessions of one block. Its errors
// are *Error. Its fields are not changed once it is used.
type Manager struct {
	Store    Store
	Client   *authserver.Client
	Verifier *authserver.Verifier // nil: access tokens are not checked
	Shared   *Shared
	Logger   *zap.Logger
	Now      func() time.Time

	// Label is what ids and keys are tied to.
	Label Label
	// Site is the host and path of the block's redirect URI.
	Site string
	// Scopes are the ones asked for, and ProviderID the only bank, if there is one.
	Scopes     []string
	ProviderID string

	IdleTimeout    time.Duration
	MaxLifetime    time.Duration
	RefreshBefore  time.Duration // 0: see refreshFrom
	RefreshTimeout time.Duration
}

// Find returns the session of the first of the secrets that has one, and notes that
// it is in use. It returns nil if there is none that lasts, and an error if the
// store failed, which never means that there is none.
func (m *Manager) Find(ctx context.Context, secrets []Secret, now time.Time) (*Session, error) {
	s, err := m.Look(ctx, secrets, now)
	if s != nil && !s.IsOver(now) {
		m.touch(s, now)
	}
	return s, err
}

// Look is Find without the note.
func (m *Manager) Look(ctx context.Context, secrets []Secret, now time.Time) (*Session, error) {
	for i := range secrets {
		if s, err := m.load(ctx, &secrets[i], now); s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

// load returns the session whose cookie has the secret, or nil.
func (m *Manager) load(ctx context.Context, secret *Secret, now time.Time) (*Session, error) {
	id := m.Label.SessionID(secret)
	record, err := m.Store.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	return m.openRecord(id, secret, record, now), nil
}

// openRecord returns the session in a record, or nil if that is no session of the
// secret's, or one that has ended.
func (m *Manager) openRecord(id string, secret *Secret, record []byte, now time.Time) *Session {
	s := m.Shared.opened.get(id, record)
	if s == nil {
		if _, ended := readTombstone(record); ended {
			return nil
		}
		opened, err := open(record, &m.Label, secret, id)
		if err != nil {
			// an id cannot be hit by chance: somebody wrote into the store
			m.Logger.Error("a session was refused", zap.Error(err))
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

// Ends returns when the session or its consent ends, if it is not used again.
func (m *Manager) Ends(s *Session, now time.Time) time.Time {
	return earlier(m.expiry(&s.body, now), s.ConsentEnds)
}

// forgotten is the moment at which a session is forgotten. It is decided by the
// times in the sealed body and by today's configuration, so that a shorter
// lifetime also holds for sessions that began under a longer one.
func (m *Manager) expiry(b *body, now time.Time) time.Time {
	absolute := b.created.Add(m.MaxLifetime)
	if b.consentOver {
		return earlier(absolute, b.TokenExpires.Add(endedLifetime))
	}
	// a last use in the future counts as now: the clock was set back
	end := earlier(absolute, earlier(b.lastSeen, now).Add(m.IdleTimeout+m.IdleTimeout/touchDivisor))
	if b.refreshToken.Reveal() == "" {
		end = earlier(end, b.tokenEnds())
	}
	return end
}

// replace writes a changed body in the place of a session's. Its errors are the
// store's.
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

// isLost reports whether a Replace lost against another write, so that there is
// nothing to mend: the other one was newer, or the session is gone.
func isLost(err error) bool { return errors.Is(err, ErrConflict) || errors.Is(err, fs.ErrNotExist) }

// touch writes down that the session is in use, now and then, behind the request:
// a store may be far away. When it is due is spread by up to a quarter, so that
// sessions which began together are not written together.
func (m *Manager) touch(s *Session, now time.Time) {
	interval := m.IdleTimeout / touchDivisor
	// a last use far in the future was written before the clock was set back
	if age := now.Sub(s.lastSeen); age > -interval && age < interval-interval/4*time.Duration(s.id[0])/256 {
		return
	}
	m.Shared.Touches.BeginIfFree(s.id, touchTimeout, func(ctx context.Context) { m.writeTouch(ctx, s, now) })
}

func (m *Manager) writeTouch(ctx context.Context, s *Session, now time.Time) {
	changed := s.body
	changed.lastSeen = now
	if _, err := m.replace(ctx, s, changed); err != nil && !isLost(err) {
		m.Logger.Warn("writing down that a session is in use failed", zap.Error(err))
	}
}
