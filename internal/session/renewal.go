package session

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// ErrNoRefreshToken is the error of RenewalLink for a session that has no refresh token.
var ErrNoRefreshToken = errors.New("the session has no refresh token")

// linkPatience bounds how long a link is asked for, as half of RefreshTimeout does. No refresh
// begins meanwhile: a request that waits for one must not wait in vain because only the call
// for links hangs, and neither must a visitor who disconnects, see disconnectPatience.
const linkPatience = 4 * time.Second

// RenewalLink asks for a link with which the visitor renews the session's connection. Ask
// is given the refresh token that the store has by now, and no refresh replaces it
// meanwhile. The link is "" if the session is gone. The error is an *Error,
// ErrNoRefreshToken, or that of ask.
func (m *Manager) RenewalLink(ctx context.Context, s *Session, ask func(ctx context.Context, refresh authserver.Secret) (link string, err error)) (link string, err error) {
	unlock, err := m.lockTokens(ctx, s.id)
	if err != nil {
		return "", err
	}
	defer unlock()
	current, err := m.load(ctx, &s.secret, m.Now())
	switch {
	case err != nil:
		return "", err
	case current == nil:
		return "", nil
	case current.refreshToken.Reveal() == "":
		return "", ErrNoRefreshToken
	}
	ctx, cancel := context.WithTimeout(ctx, min(m.RefreshTimeout/2, linkPatience))
	defer cancel()
	return ask(ctx, current.refreshToken)
}

// lockTokens waits until nobody else uses the refresh token of the session with an id: in
// this process, and in all processes if the store has locks. Its error is an *Error.
func (m *Manager) lockTokens(ctx context.Context, id string) (unlock func(), err error) {
	leave, err := m.Shared.tokenUses.Take(ctx, id)
	if err != nil {
		return nil, &Error{Kind: TokenUnavailable, Cause: err}
	}
	locker, ok := m.Store.(Locker)
	if !ok {
		return leave, nil
	}
	defer func() {
		if unlock == nil { // the store failed, or somebody's store panicked
			leave()
		}
	}()
	release, err := locker.Lock(ctx, id)
	if err != nil {
		return nil, storeError(err)
	}
	return func() {
		defer leave()
		release()
	}, nil
}

// Relation says whether two sessions are of the same connection.
type Relation string

// The relations of two sessions. TrueLayer names a connection in its access tokens, or does
// not.
const (
	SameConnection    Relation = "same"
	AnotherConnection Relation = "another"
	UnknownConnection Relation = "unknown"
)

// RelationTo returns the relation to another session, which may be nil.
func (s *Session) RelationTo(other *Session) Relation {
	if other == nil {
		return UnknownConnection
	}
	return s.relationTo(&other.body)
}

func (b *body) relationTo(other *body) Relation {
	switch {
	case b.randomConnection || other.randomConnection:
		return UnknownConnection
	case b.Connection == other.Connection:
		return SameConnection
	}
	return AnotherConnection
}
