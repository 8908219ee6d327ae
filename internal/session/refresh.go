package session

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// refreshWindow is how long before its expiry a token is refreshed at the earliest,
	// unless RefreshBefore says otherwise.
	refreshWindow = 5 * time.Minute
	// saveTimeout bounds the writing of a refreshed token, and maxSavePause the pause
	// before a failed write is retried. The token that it replaces may be invalid
	// already, so a store that fails is retried for long. The pauses are short, so that
	// no other node is first to refresh when the store is back.
	saveTimeout  = time.Minute
	maxSavePause = 100 * time.Millisecond
)

// NeedsRefresh reports whether the session's access token has expired or expires soon,
// or an upstream refused it, so that it has to be refreshed. That is never so without a
// refresh token.
func (m *Manager) NeedsRefresh(s *Session, now time.Time) bool {
	if s.refreshToken.Reveal() == "" || s.IsOver(now) {
		return false
	}
	return !now.Before(m.refreshFrom(s)) || !now.Before(s.tokenEnds()) || m.wasRejected(s)
}

// WithUsableToken returns the session with an access token that can be sent, or nil if
// the session is gone. A token that expires soon is refreshed in the background. If the
// token has expired, or if an upstream refused it, WithUsableToken waits for the
// refresh.
func (m *Manager) WithUsableToken(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	if !m.NeedsRefresh(s, now) {
		return s, nil
	}
	alive := now.Before(s.tokenEnds())
	refused := m.wasRejected(s)
	wait := m.Shared.refreshDelay(s.id, m.Client.ID, now)
	switch {
	case wait > 0 && alive:
		return s, nil
	case wait > 0:
		return nil, m.unavailable(s, now, errBackingOff, wait)
	}
	underWay := m.Shared.Refreshes.Begin(ctx, s.id, m.RefreshTimeout+saveTimeout, func(ctx context.Context) (any, error) {
		fresh, err := m.refresh(ctx, s)
		if err != nil && !IsRevoked(err) {
			m.Observer.RefreshFailed(ctx, s, refreshError(err))
		}
		return fresh, err
	})
	if alive && !refused {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.RefreshTimeout)
	defer cancel()
	result, err := m.await(ctx, Refresh, underWay)
	if err != nil && alive {
		return s, nil
	}
	if err != nil {
		if failed, ok := errors.AsType[*Error](err); ok {
			return nil, failed
		}
		return nil, m.unavailable(s, now, err, time.Second)
	}
	return result.(*Session), nil
}

var errBackingOff = errors.New("an earlier refresh failed, and the next attempt is not due yet")

// refreshFrom returns from when on the session's token is refreshed. That is RefreshBefore
// before the token expires. By default it is five minutes or a tenth of the token's life,
// whichever is less. The time is shortened by up to a quarter, so that tokens that were
// issued together are not all refreshed together.
func (m *Manager) refreshFrom(s *Session) time.Time {
	life := s.TokenExpires.Sub(s.tokenIssued)
	window := m.RefreshBefore
	if window == 0 {
		window = min(refreshWindow, life/10)
	}
	window = min(window, life/2) // otherwise every request would refresh
	window -= window / 4 * time.Duration(s.id[0]) / 256
	return s.tokenEnds().Add(-window)
}

// refresh refreshes a session's token and returns the session with the new one, or nil if
// the session is gone. Only one refresh of a session runs at a time in this process, and
// in all processes if the store has locks.
func (m *Manager) refresh(ctx context.Context, s *Session) (*Session, error) {
	unlock, err := m.lockTokens(ctx, s.id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	current, err := m.load(ctx, &s.secret, m.Now())
	if err != nil {
		return nil, err
	}
	if current == nil || current.Bearer() != s.Bearer() || current.refreshToken.Reveal() == "" {
		return current, nil // the session is gone, or was refreshed meanwhile
	}
	token, err := m.requestRefresh(ctx, current)
	if answer, ok := errors.AsType[*authserver.Error](err); ok && answer.Code == "invalid_grant" {
		return m.endConsent(ctx, current)
	}
	if err != nil {
		return nil, m.refreshFailed(current, err)
	}
	m.Shared.backoffs.Delete(current.id)
	m.logAssumedExpiry(zap.DebugLevel, token)
	saved, err := m.saveToken(ctx, current, token)
	if saved != nil && err == nil {
		m.Logger.Info("an access token was refreshed", zap.String("connection", saved.Connection), zap.String("provider", saved.Provider))
	}
	return saved, err
}

// requestRefresh requests a new token from the token endpoint and verifies it.
func (m *Manager) requestRefresh(ctx context.Context, s *Session) (authserver.Token, error) {
	requestCtx, cancel := context.WithTimeout(ctx, m.RefreshTimeout)
	defer cancel()
	token, err := m.Client.Refresh(requestCtx, s.refreshToken)
	if err != nil {
		return token, err
	}
	if err = m.verify(requestCtx, token); err != nil {
		// an unverified access token is not used, but the new refresh token is saved
		// since the old one may be invalid now
		token.Access, token.Issued, token.Expires = s.AccessToken(), s.tokenIssued, s.TokenExpires
		if _, saveErr := m.saveToken(ctx, s, token); saveErr != nil {
			m.Logger.Error("saving a new refresh token failed", zap.Error(saveErr))
		}
	}
	return token, err
}

// verify verifies the access token, if access tokens are checked.
func (m *Manager) verify(ctx context.Context, token authserver.Token) error {
	if m.Verifier == nil {
		return nil
	}
	err := m.Verifier.Verify(ctx, token.Access)
	switch {
	case errors.Is(err, authserver.ErrKeysUnavailable):
		return &Error{Kind: TokenUnverified, Cause: err}
	case err != nil:
		return &Error{Kind: TokenRefused, Cause: err}
	}
	return nil
}

// saveToken writes a refreshed token to the store before anybody uses it. If the write
// conflicts with a touch, it is repeated on top of that. If it conflicts with another
// node's refresh it is not: this node was suspended or lost its lock, and the other
// node's token is the newer one.
func (m *Manager) saveToken(ctx context.Context, s *Session, token authserver.Token) (*Session, error) {
	usedAccess, usedRefresh := s.Bearer(), s.refreshToken.Reveal()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, maxSavePause) {
		changed := s.body
		changed.applyToken(token)
		changed.lastSeen = later(changed.lastSeen, m.Now())
		saved, err := m.replace(ctx, s, changed)
		switch {
		case err == nil:
			return saved, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil // the visitor has signed out meanwhile
		case !errors.Is(err, ErrConflict):
			if !flight.Sleep(ctx, pause) {
				return nil, storeError(err)
			}
			continue
		}
		current, err := m.load(ctx, &s.secret, m.Now())
		if err != nil {
			if IsRevoked(err) || !flight.Sleep(ctx, pause) {
				return nil, err
			}
			continue
		}
		if current == nil || current.Bearer() != usedAccess || current.refreshToken.Reveal() != usedRefresh {
			return current, nil // the session is gone, or has another node's token
		}
		s = current
	}
}

// endConsent notes in a session that its consent has ended, after the auth server said
// that the refresh token is no longer valid. It does nothing if the store has a newer
// refresh token by now. The access token can still be used until it expires.
func (m *Manager) endConsent(ctx context.Context, s *Session) (*Session, error) {
	for {
		current, err := m.load(ctx, &s.secret, m.Now())
		if err != nil {
			return nil, err
		}
		if current == nil || current.refreshToken.Reveal() != s.refreshToken.Reveal() {
			return current, nil
		}
		changed := current.body
		changed.consentOver, changed.refreshToken = true, authserver.Secret{}
		// otherwise a token that expired long ago would end the session at once
		changed.TokenExpires = later(changed.TokenExpires, m.Now())
		ended, err := m.replace(ctx, current, changed)
		switch {
		case errors.Is(err, ErrConflict):
			continue // probably a touch
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, storeError(err)
		}
		m.tellEnded(ctx, current, EndedByConsent)
		return ended, nil
	}
}

// logAssumedExpiry logs the expiry that is assumed for a token if the token endpoint
// did not state one.
func (m *Manager) logAssumedExpiry(level zapcore.Level, token authserver.Token) {
	if token.ExpiresBy != "expires_in" {
		m.Logger.Log(level, "a token response has no expires_in", zap.String("taken", token.ExpiresBy), zap.Time("expires", token.Expires))
	}
}
