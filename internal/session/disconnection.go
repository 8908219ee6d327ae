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
		s, over, failed := m.disconnectOne(ctx, patience, &secrets[i])
		err = errors.Join(err, failed)
		if s != nil {
			ended = append(ended, s)
			everywhere = everywhere && over
		}
	}
	return ended, everywhere, err
}

// disconnectOne is Disconnect for one secret. The session is nil if there was none.
func (m *Manager) disconnectOne(ctx, patience context.Context, secret *Secret) (s *Session, over bool, err error) {
	// first, since a refresh needs the record
	s, failure := m.withLiveToken(patience, secret)
	s, last, err := m.takeOut(ctx, patience, secret, s)
	switch {
	case s == nil:
		return nil, false, err
	case failure != nil && !s.hasLiveToken(m.Now()):
		m.Logger.Warn("a connection was left at TrueLayer: its access token has expired, and was not refreshed", zap.String("provider", s.Provider), zap.Error(failure))
		return s, false, err
	}
	return s, m.awaitEnding(ctx, patience, s, last), err
}

// withLiveToken returns the session with a secret, nil if there is none. Its access token is
// refreshed if it has expired. The error says why that failed.
func (m *Manager) withLiveToken(ctx context.Context, secret *Secret) (*Session, error) {
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

// takeOut deletes the record of a session that was read before, or of none if s is nil. It
// waits until no refresh is under way, and returns the session as it was last. If that takes
// longer than patience, the record is deleted all the same, and last is false: another token
// may have replaced the one that s has.
func (m *Manager) takeOut(ctx, patience context.Context, secret *Secret, s *Session) (taken *Session, last bool, err error) {
	if s != nil {
		if unlock, failed := m.lockTokens(patience, s.id); failed == nil {
			defer unlock()
			if current, failed := m.load(ctx, secret, m.Now()); failed == nil && current != nil {
				s, last = current, true
			}
		}
	}
	_, err = m.logout(ctx, secret)
	return s, last, err
}

// awaitEnding ends a session's connection at TrueLayer, and waits until patience ends. It
// reports whether the connection has ended. While there is an access token only TrueLayer
// knows: it may refuse a refresh token, and serve the connection's data until the last
// access token expires.
func (m *Manager) awaitEnding(ctx, patience context.Context, s *Session, last bool) bool {
	if now := m.Now(); !s.hasLiveToken(now) && s.IsOver(now) {
		return true // it had ended before
	}
	work := m.disconnect(ctx, s, last)
	if work == nil {
		return false
	}
	_, err := work.Await(patience)
	return err == nil
}
