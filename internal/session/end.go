package session

import (
	"context"
	"errors"
	"io/fs"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// Logout deletes the sessions with the given secrets, and returns those that it has
// deleted. If disconnect is set, it also ends their connections at TrueLayer, in the
// background. A refresh in progress does not bring the sessions back, since it can only
// replace a record that exists.
func (m *Manager) Logout(ctx context.Context, secrets []Secret, disconnect bool) (ended []*Session, err error) {
	ctx = context.WithoutCancel(ctx) // who asks for this and goes is signed out, too
	for i := range secrets {
		s, failed := m.logout(ctx, &secrets[i])
		err = errors.Join(err, failed)
		if s == nil {
			continue
		}
		ended = append(ended, s)
		if disconnect {
			m.disconnect(ctx, s, true)
		}
	}
	return ended, err
}

// forget makes this process notice that a session has ended.
func (m *Manager) forget(id string) {
	m.Shared.opened.forget(id)
	m.Shared.watches.changed(id)
}

func (m *Manager) logout(ctx context.Context, secret *Secret) (*Session, error) {
	id := m.Label.SessionID(secret)
	record, err := m.Store.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // anybody can make up ids, and a Delete costs the store more than a Get
	}
	if deleteErr := m.Store.Delete(ctx, id); deleteErr != nil {
		return nil, errors.Join(err, deleteErr)
	}
	if err != nil {
		return nil, nil // the record could not be read, but it is deleted
	}
	if _, ended := readTombstone(record); ended {
		return nil, nil
	}
	s := m.openRecord(id, secret, record, m.Now())
	m.forget(id)
	if s != nil {
		m.tellEnded(ctx, s, EndedByLogout)
	}
	return s, nil
}

// Discard deletes the sessions with the given secrets, except the current one. A session
// whose deletion fails stays in the store until it expires, but no browser has its
// cookie any more. If disconnect is set, it also ends their connections at TrueLayer, in
// the background, as far as they are known to be others than the current session's.
func (m *Manager) Discard(ctx context.Context, secrets []Secret, current Secret, disconnect bool) {
	for i := range secrets {
		if secrets[i] == current {
			continue
		}
		s, err := m.load(ctx, &secrets[i], m.Now())
		if s == nil || err != nil {
			continue
		}
		if err := m.Store.Delete(ctx, s.id); err != nil {
			m.Logger.Warn("deleting a visitor's earlier session failed; it expires by itself", zap.Error(err))
			continue
		}
		m.forget(s.id)
		m.tellEnded(ctx, s, EndedByLogin)
		if disconnect {
			m.disconnectReplaced(ctx, s, current)
		}
	}
}

// ForgetRevoked deletes what is left of the sessions that an operator has ended, once
// their visitor has been told. A failure does no harm, since the browser forgets its
// cookie, and the record expires by itself.
func (m *Manager) ForgetRevoked(ctx context.Context, secrets []Secret) {
	for i := range secrets {
		if _, err := m.load(ctx, &secrets[i], m.Now()); IsRevoked(err) {
			if err := m.Store.Delete(ctx, m.Label.SessionID(&secrets[i])); err != nil {
				m.Logger.Warn("deleting what is left of a revoked session failed; it expires by itself", zap.Error(err))
			}
		}
	}
}

// MarkOver removes the tokens from a session whose connection has ended, and notes
// whether its visitor is being told so.
func (m *Manager) MarkOver(ctx context.Context, s *Session, told bool) {
	changed := s.body
	changed.consentOver, changed.Told = true, s.Told || told
	changed.TokenExpires = m.Now() // endedLifetime counts from here, see expiry
	changed.bearer, changed.refreshToken = authserver.Secret{}, authserver.Secret{}
	if changed.Told == s.Told && s.Bearer() == "" {
		return
	}
	switch _, err := m.replace(ctx, s, changed); {
	case err == nil && !s.consentOver:
		m.forget(s.id)
		m.tellEnded(ctx, s, EndedByConsent)
	case err == nil: // told already
	case !isLost(err):
		m.Logger.Warn("removing the tokens from an ended session failed", zap.Error(err))
	}
}
