package session

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// disconnectPatience is how long a visitor waits to learn whether the connection has ended.
const disconnectPatience = 5 * time.Second

// Disconnect deletes the sessions with the given secrets like Logout, and ends their
// connections at TrueLayer. It waits for TrueLayer's answer for a few seconds. It returns
// the sessions that there were, and whether TrueLayer said of each connection that it has
// ended.
func (m *Manager) Disconnect(ctx context.Context, secrets []Secret) (ended []*Session, everywhere bool, err error) {
	ctx = context.WithoutCancel(ctx) // as in Logout
	patience, cancel := context.WithTimeout(ctx, disconnectPatience)
	defer cancel()
	everywhere = true
	for i := range secrets {
		// a refresh needs the record that logout deletes
		s, failure := m.withLastToken(patience, &secrets[i])
		_, failed := m.logout(ctx, &secrets[i])
		err = errors.Join(err, failed)
		if s == nil {
			continue
		}
		ended = append(ended, s)
		if failure != nil {
			m.Logger.Warn("a connection was left at TrueLayer: its access token has expired, and was not refreshed", zap.String("provider", s.Provider), zap.Error(failure))
			everywhere = false
		} else if !m.awaitEnding(ctx, patience, s) {
			everywhere = false
		}
	}
	return ended, everywhere, err
}

// withLastToken returns the session with a secret, nil if there is none. Its access token is
// refreshed if it has expired. The error says why that failed.
func (m *Manager) withLastToken(ctx context.Context, secret *Secret) (*Session, error) {
	now := m.Now()
	s, err := m.load(ctx, secret, now)
	if s == nil || err != nil {
		return nil, nil // what can be said of it, logout says
	}
	if now.Before(s.tokenEnds()) {
		return s, nil
	}
	fresh, err := m.WithUsableToken(ctx, s, now)
	if err != nil {
		return s, err
	}
	return fresh, nil
}

// awaitEnding ends a session's connection at TrueLayer, and waits until patience ends. It
// reports whether the connection has ended.
func (m *Manager) awaitEnding(ctx, patience context.Context, s *Session) bool {
	if s.consentOver || s.IsOver(m.Now()) {
		return true // it had ended before
	}
	work := m.disconnect(ctx, s)
	if work == nil {
		return false
	}
	_, err := work.Await(patience)
	return err == nil
}
