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
	// refreshWindow is the longest time before its end that a token is
	// refreshed, unless RefreshBefore says otherwise.
	refreshWindow = 5 * time.Minute
	// keepTimeout bounds the writing of a token that was refreshed, and
	// maxKeepPause the wait before a write that failed is tried again. The token
	// that it replaces may be dead already, so a store that is away for a while
	// is waited for, and another node must not come first when it is back.
	saveTimeout  = time.Minute
	maxSavePause = 100 * time.Millisecond
)

// WithUsableToken returns the session with an access token that can be sent, or nil
// if the session is gone. Shortly before its end a token is refreshed behind the
// request; after it, or if an upstream refused it, the request waits.
func (m *Manager) WithUsableToken(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	if s.refreshToken.Reveal() == "" || s.IsOver(now) {
		return s, nil
	}
	alive := now.Before(s.tokenEnds())
	refused := m.wasRejected(s)
	if alive && !refused && now.Before(m.refreshFrom(s)) {
		return s, nil
	}
	wait := m.Shared.refreshDelay(s.id, m.Client.ID, now)
	switch {
	case wait > 0 && alive:
		return s, nil
	case wait > 0:
		return nil, m.unavailable(s, now, errBackingOff, wait)
	}
	underWay := m.Shared.Refreshes.Begin(s.id, m.RefreshTimeout+saveTimeout, func(ctx context.Context) (any, error) {
		return m.refresh(ctx, s)
	})
	if alive && !refused {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.RefreshTimeout)
	defer cancel()
	result, err := underWay.Await(ctx)
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

var errBackingOff = errors.New("an earlier refresh failed; the next one waits for its time")

// refreshFrom is when the session's token begins to be refreshed: the smaller
// of five minutes and a tenth of its life before it ends, or RefreshBefore,
// less up to a quarter, so that tokens issued together do not end together.
func (m *Manager) refreshFrom(s *Session) time.Time {
	life := s.TokenExpires.Sub(s.tokenIssued)
	window := m.RefreshBefore
	if window == 0 {
		window = min(refreshWindow, life/10)
	}
	window = min(window, life/2) // or each request would refresh
	window -= window / 4 * time.Duration(s.id[0]) / 256
	return s.tokenEnds().Add(-window)
}

// refresh is the one refresh of a session that is under way in this process,
// and with a store that has locks, in all of them.
func (m *Manager) refresh(ctx context.Context, s *Session) (*Session, error) {
	if locker, ok := m.Store.(Locker); ok {
		unlock, err := locker.Lock(ctx, s.id)
		if err != nil {
			return nil, storeError(err)
		}
		defer unlock()
	}
	current, err := m.load(ctx, &s.secret, m.Now())
	if err != nil {
		return nil, err
	}
	if current == nil || current.Bearer() != s.Bearer() || current.refreshToken.Reveal() == "" {
		return current, nil // gone, or refreshed by somebody else
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
	return m.saveToken(ctx, current, token)
}

// requestRefresh asks the token endpoint, and checks what it gives.
func (m *Manager) requestRefresh(ctx context.Context, s *Session) (authserver.Token, error) {
	requestCtx, cancel := context.WithTimeout(ctx, m.RefreshTimeout)
	defer cancel()
	token, err := m.Client.Refresh(requestCtx, s.refreshToken)
	if err != nil || m.Verifier == nil {
		return token, err
	}
	if err = m.Verifier.Verify(requestCtx, token.Access); err != nil {
		// what was not checked is not used, but the refresh token that was
		// sent may be dead now
		token.Access, token.Issued, token.Expires = s.accessToken(), s.tokenIssued, s.TokenExpires
		if _, keepErr := m.saveToken(ctx, s, token); keepErr != nil {
			m.Logger.Error("keeping a refresh token failed", zap.Error(keepErr))
		}
	}
	return token, err
}

// keep writes a refreshed token into the store before anybody uses it. A write
// that lost against an idle touch is made again on top of it. One that lost
// against another node's refresh is not: this node has stood still meanwhile,
// or its lock was lost, and the other's token is the newer one.
func (m *Manager) saveToken(ctx context.Context, s *Session, token authserver.Token) (*Session, error) {
	usedAccess, usedRefresh := s.Bearer(), s.refreshToken.Reveal()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, maxSavePause) {
		changed := s.body
		changed.applyToken(token)
		changed.lastSeen = later(changed.lastSeen, m.Now())
		kept, err := m.replace(ctx, s, changed)
		switch {
		case err == nil:
			return kept, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil // logged out meanwhile; it stays so
		case !errors.Is(err, ErrConflict):
			if !flight.Sleep(ctx, pause) {
				return nil, storeError(err)
			}
			continue
		}
		current, err := m.load(ctx, &s.secret, m.Now())
		if err != nil {
			if !flight.Sleep(ctx, pause) {
				return nil, err
			}
			continue
		}
		if current == nil || current.Bearer() != usedAccess || current.refreshToken.Reveal() != usedRefresh {
			return current, nil // gone, or another node's refresh was kept
		}
		s = current
	}
}

// endConsent ends a session's refreshing after the auth server said that the
// grant is no longer valid, unless the store has a newer one by now. What is
// left of the access token's life can be used.
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
		// a token that expired long ago would have the session forgotten at once
		changed.TokenExpires = later(changed.TokenExpires, m.Now())
		ended, err := m.replace(ctx, current, changed)
		switch {
		case errors.Is(err, ErrConflict):
			continue // an idle touch
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, storeError(err)
		}
		m.Logger.Info("a consent is over", zap.String("provider", s.Provider))
		return ended, nil
	}
}

// noteExpiry writes down what was taken for the life of a token whose answer did
// not say.
func (m *Manager) logAssumedExpiry(level zapcore.Level, token authserver.Token) {
	if token.ExpiresBy != "expires_in" {
		m.Logger.Log(level, "a token answer has no expires_in", zap.String("taken", token.ExpiresBy), zap.Time("expires", token.Expires))
	}
}
