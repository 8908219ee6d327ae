package session

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// disconnectTimeout bounds the call that ends a connection at TrueLayer.
	disconnectTimeout = 10 * time.Second
	// disconnectWait bounds the call and the wait for a slot.
	disconnectWait = 5 * time.Minute
)

// disconnectReplaced ends the connection of a session that the one with a secret has
// replaced. If the two are of the same connection, or nobody knows, it ends nothing: the
// old connection's end may be the new one's.
func (m *Manager) disconnectReplaced(ctx context.Context, replaced *Session, secret Secret) {
	current, err := m.load(ctx, &secret, m.Now())
	if err == nil && replaced.RelationTo(current) == AnotherConnection {
		m.disconnect(ctx, replaced, true)
	}
}

// disconnect ends a connection at TrueLayer in the background. It tries once, with the
// session's access token. It returns nil if that has expired. That TrueLayer does not know the
// token means that the connection had ended before, if the token is the last one.
func (m *Manager) disconnect(ctx context.Context, s *Session, last bool) *flight.Flight {
	if !s.hasLiveToken(m.Now()) {
		m.Logger.Warn("a connection was left at TrueLayer: its access token has expired", zap.String("provider", s.Provider))
		return nil
	}
	access := s.AccessToken()
	work := m.Shared.Disconnects.Begin(ctx, s.id, disconnectWait, func(ctx context.Context) (any, error) {
		call, cancel := context.WithTimeout(ctx, disconnectTimeout)
		defer cancel()
		err := m.Client.Disconnect(call, access)
		if last && errors.Is(err, authserver.ErrUnknownToken) {
			err = nil
		}
		if err == nil {
			m.Observer.Disconnected(ctx, s)
		}
		return nil, err
	})
	waiting := context.WithoutCancel(ctx)
	go func() {
		if _, err := work.Await(waiting); err != nil {
			m.Logger.Warn("a connection was left at TrueLayer: ending it failed", zap.String("provider", s.Provider), zap.Error(err))
		}
	}()
	return work
}
