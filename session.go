package truelayer

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// touchInterval is how often a session's use is written down, at most.
const touchInterval = time.Minute

// find returns the visitor's session, nil if there is none that lasts, or an
// error if the store failed, which never means that there is none.
func (h *Handler) find(r *http.Request) (*session, error) {
	for secret := range h.cookies.secrets(r) {
		s, err := h.load(r.Context(), &secret)
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

// load returns the session whose cookie has the secret, or nil.
func (h *Handler) load(ctx context.Context, secret *cookieSecret) (*session, error) {
	id := h.label.sessionID(secret)
	record, err := h.store.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := openSession(record, &h.label, secret, id)
	if err != nil {
		// an id cannot be hit by chance: somebody wrote into the store
		h.logger.Error("a session was refused", zap.Error(err))
		return nil, nil
	}
	now := h.now()
	if !now.Before(h.ends(s, now)) {
		return nil, nil
	}
	if now.Sub(s.lastSeen) >= min(touchInterval, time.Duration(h.IdleTimeout)/10) {
		h.touch(ctx, id, secret, record, *s, now)
	}
	return s, nil
}

// ends is the moment at which a session is over. It is decided by the times in
// the sealed body and by today's configuration, so that a shorter lifetime
// also holds for sessions that began under a longer one.
func (h *Handler) ends(s *session, now time.Time) time.Time {
	// a last use in the future counts as now: the clock was set back
	idle := earlier(s.lastSeen, now).Add(time.Duration(h.IdleTimeout))
	absolute := s.created.Add(time.Duration(h.MaxLifetime))
	return earlier(earlier(idle, absolute), s.tokenExpires)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// touch writes down that the session is in use. One that loses against another
// write is dropped: the other one was newer, or the session is gone.
func (h *Handler) touch(ctx context.Context, id string, secret *cookieSecret, old []byte, s session, now time.Time) {
	s.lastSeen = now
	end := h.ends(&s, now)
	record, err := s.seal(&h.label, secret, h.client.ID, end)
	if err == nil {
		err = h.store.Replace(context.WithoutCancel(ctx), id, old, record, end.Sub(now))
	}
	if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, fs.ErrNotExist) {
		h.logger.Warn("writing down that a session is in use failed", zap.Error(err))
	}
}

// create keeps a new session for the token and returns its cookie's secret,
// which is always a new one: an id that a client brought is never adopted.
func (h *Handler) create(ctx context.Context, token authserver.Token) (cookieSecret, error) {
	secret := newCookieSecret()
	now := h.now()
	scopes := token.Scopes
	if scopes == nil {
		scopes = h.Scopes
	}
	s := &session{
		created:      now,
		lastSeen:     now,
		tokenExpires: token.Expires,
		connection:   token.Claims.Subject,
		provider:     token.Claims.Provider,
		scopes:       strings.Join(scopes, " "),
		accessToken:  token.Access,
		refreshToken: token.Refresh,
	}
	if s.connection == "" {
		s.connection = rand.Text()
	}
	if s.provider == "" {
		s.provider = h.ProviderID
	}
	end := h.ends(s, now)
	record, err := s.seal(&h.label, &secret, h.client.ID, end)
	if err != nil {
		return secret, err
	}
	return secret, h.store.Create(ctx, h.label.sessionID(&secret), record, end.Sub(now))
}

// discard deletes the sessions that the request's cookies open, except the one
// that has just begun. It is housekeeping: a failure costs a record that
// nobody has the cookie for any more, until it expires.
func (h *Handler) discard(r *http.Request, current cookieSecret) {
	for secret := range h.cookies.secrets(r) {
		if secret == current {
			continue
		}
		if s, err := h.load(r.Context(), &secret); s == nil || err != nil {
			continue
		}
		if err := h.store.Delete(r.Context(), h.label.sessionID(&secret)); err != nil {
			h.logger.Warn("deleting a visitor's earlier session failed; it expires by itself", zap.Error(err))
		}
	}
}
