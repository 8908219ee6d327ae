package session

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// disconnectTimeout bounds the call that ends a connection at TrueLayer.
const disconnectTimeout = 10 * time.Second

// Logout deletes the sessions that the secrets open, and ends their connections at
// TrueLayer behind the visitor if disconnect is set. A refresh that is under way
// does not bring them back: it can only replace a record that is there.
func (m *Manager) Logout(ctx context.Context, secrets []Secret, disconnect bool) error {
	var failed error
	for i := range secrets {
		failed = errors.Join(failed, m.logout(ctx, &secrets[i], disconnect))
	}
	return failed
}

func (m *Manager) logout(ctx context.Context, secret *Secret, disconnect bool) error {
	id := m.Label.SessionID(secret)
	record, err := m.Store.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // anybody can invent ids, and a delete costs the store more than a look
	}
	if deleteErr := m.Store.Delete(context.WithoutCancel(ctx), id); deleteErr != nil {
		return errors.Join(err, deleteErr)
	}
	if err != nil {
		return nil // it could not be read, and is gone
	}
	s := m.openRecord(id, secret, record, m.Now())
	m.Shared.opened.forget(id)
	if s != nil && disconnect {
		m.disconnect(s)
	}
	return nil
}

// disconnect ends the connection at TrueLayer behind the visitor, who is signed
// out already. It is tried once, with the access token that is there.
func (m *Manager) disconnect(s *Session) {
	if !m.Now().Before(s.tokenEnds()) {
		m.Logger.Warn("a connection was left at TrueLayer: its access token has expired", zap.String("provider", s.Provider))
		return
	}
	access := s.accessToken()
	m.Shared.Refreshes.Begin("disconnect "+s.id, disconnectTimeout, func(ctx context.Context) (any, error) {
		err := m.Client.Disconnect(ctx, access)
		if err != nil {
			m.Logger.Warn("a connection was left at TrueLayer: ending it failed", zap.String("provider", s.Provider), zap.Error(err))
		}
		return nil, err
	})
}

// Discard deletes the sessions that the secrets open, except the one that has just
// begun. It is housekeeping: a failure costs a record that nobody has the cookie
// for any more, until it expires.
func (m *Manager) Discard(ctx context.Context, secrets []Secret, current Secret) {
	for i := range secrets {
		if secrets[i] == current {
			continue
		}
		s, err := m.load(ctx, &secrets[i], m.Now())
		if s == nil || err != nil {
			continue
		}
		m.Shared.opened.forget(s.id)
		if err := m.Store.Delete(ctx, s.id); err != nil {
			m.Logger.Warn("deleting a visitor's earlier session failed; it expires by itself", zap.Error(err))
		}
	}
}

// MarkOver takes the tokens out of a session whose connection is over, and notes
// whether its visitor is told now.
func (m *Manager) MarkOver(ctx context.Context, s *Session, told bool) {
	changed := s.body
	changed.consentOver, changed.Told = true, s.Told || told
	changed.TokenExpires = m.Now() // it is remembered from now on, see forgotten
	changed.bearer, changed.refreshToken = authserver.Secret{}, authserver.Secret{}
	if changed.Told == s.Told && s.Bearer() == "" {
		return
	}
	if _, err := m.replace(ctx, s, changed); err != nil && !isLost(err) {
		m.Logger.Warn("taking the tokens out of an ended session failed", zap.Error(err))
	}
}
