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
	"go.uber.org/zap/zapcore"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	// touchShare is the part of the idle timeout in which a session's use is written
	// down once at most: a write for each minute would be most of what a store has to
	// do. A session that is not used lasts longer by as much, so that none ends early.
	touchShare = 32
	// touchTimeout bounds that write.
	touchTimeout = 10 * time.Second
	// endedLifetime is how long a connection that is over is remembered, for
	// the visitor to be told.
	endedLifetime = 24 * time.Hour
	// consentLifetime is how long a consent lasts if the token does not say
	// (TrueLayer: 90 days).
	consentLifetime = 90 * 24 * time.Hour
)

// storedSession is a session with what it takes to write it.
type storedSession struct {
	session
	id     string
	secret cookieSecret
	record []byte
}

// find returns the visitor's session, nil if there is none that lasts, or an
// error if the store failed, which never means that there is none.
func (h *Handler) find(ctx context.Context, cookies []string, now time.Time) (*storedSession, error) {
	for secret := range h.cookies.secrets(cookies) {
		s, err := h.load(ctx, &secret, now)
		if s == nil && err == nil {
			continue
		}
		if s != nil && !s.over(now) {
			h.touch(s, now)
		}
		return s, err
	}
	return nil, nil
}

// load returns the session whose cookie has the secret, or nil.
func (h *Handler) load(ctx context.Context, secret *cookieSecret, now time.Time) (*storedSession, error) {
	id := h.label.sessionID(secret)
	record, err := h.store.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return h.openRecord(id, secret, record, now), nil
}

// openRecord returns the session in a record, or nil if that is no session of the
// secret's, or one that has ended.
func (h *Handler) openRecord(id string, secret *cookieSecret, record []byte, now time.Time) *storedSession {
	s := h.auth.opened.get(id, record)
	if s == nil {
		opened, err := openSession(record, &h.label, secret, id)
		if err != nil {
			// an id cannot be hit by chance: somebody wrote into the store
			h.logger.Error("a session was refused", zap.Error(err))
			return nil
		}
		s = &storedSession{session: opened, id: id, secret: *secret, record: record}
		h.auth.opened.keep(s)
	}
	if !now.Before(h.ends(&s.session, now)) {
		return nil
	}
	return s
}

// ends is the moment at which a session is forgotten. It is decided by the
// times in the sealed body and by today's configuration, so that a shorter
// lifetime also holds for sessions that began under a longer one.
func (h *Handler) ends(s *session, now time.Time) time.Time {
	absolute := s.created.Add(time.Duration(h.MaxLifetime))
	if s.ended != "" {
		return earlier(absolute, s.tokenExpires.Add(endedLifetime))
	}
	// a last use in the future counts as now: the clock was set back
	idle := time.Duration(h.IdleTimeout)
	end := earlier(absolute, earlier(s.lastSeen, now).Add(idle+idle/touchShare))
	if s.refreshToken.Reveal() == "" {
		end = earlier(end, s.tokenDies())
	}
	return end
}

// tokenDies is when the access token is no longer sent: a little before it
// expires, so that it does not do so on its way.
func (s *session) tokenDies() time.Time {
	return s.tokenExpires.Add(-min(time.Second, s.tokenExpires.Sub(s.tokenIssued)/20))
}

// over reports whether the connection can no longer be used, so that all that
// is left is to tell the visitor. Once its token is gone no clock brings it back.
func (s *session) over(now time.Time) bool {
	return s.bearer.Reveal() == "" || !now.Before(s.consentEnds) || (s.ended != "" && !now.Before(s.tokenDies()))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// replace writes a changed session in the place of the one that is held. Its
// errors are the store's.
func (h *Handler) replace(ctx context.Context, s *storedSession, changed session) (*storedSession, error) {
	now := h.now()
	end := h.ends(&changed, now)
	record, err := changed.seal(&h.label, &s.secret, h.client.ID, end)
	if err != nil {
		return nil, err
	}
	if err := h.store.Replace(ctx, s.id, s.record, record, end.Sub(now)); err != nil {
		return nil, err
	}
	return &storedSession{session: changed, id: s.id, secret: s.secret, record: record}, nil
}

// touch writes down that the session is in use, now and then, behind the request:
// a store may be far away. When it is due is spread by up to a quarter, so that
// sessions which began together are not written together.
func (h *Handler) touch(s *storedSession, now time.Time) {
	interval := time.Duration(h.IdleTimeout) / touchShare
	if now.Sub(s.lastSeen) < interval-interval/4*time.Duration(s.id[0])/256 {
		return
	}
	h.auth.touches.BeginIfFree(s.id, touchTimeout, func(ctx context.Context) (any, error) {
		h.writeTouch(ctx, s, now)
		return nil, nil
	})
}

// writeTouch is dropped if it loses against another write: the other one was
// newer, or the session is gone.
func (h *Handler) writeTouch(ctx context.Context, s *storedSession, now time.Time) {
	changed := s.session
	changed.lastSeen = now
	if _, err := h.replace(ctx, s, changed); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, fs.ErrNotExist) {
		h.logger.Warn("writing down that a session is in use failed", zap.Error(err))
	}
}

// begin begins a session for the token, in the place of the claim's reservation.
// The cookie's secret is a new one: an id that a client brought is never adopted.
func (h *Handler) begin(ctx context.Context, c *claim, token authserver.Token) (*loginResult, error) {
	now := h.now()
	s := &session{
		created:     now,
		lastSeen:    now,
		consentEnds: now.Add(consentLifetime),
		connection:  token.Claims.Subject,
		provider:    token.Claims.Provider,
		scopes:      strings.Join(h.Scopes, " "),
	}
	s.take(token)
	h.noteExpiry(zap.InfoLevel, token)
	if s.connection == "" {
		s.connection = rand.Text()
	}
	if s.provider == "" {
		s.provider = h.ProviderID
	}
	end := h.ends(s, now)
	record, err := s.seal(&h.label, &c.secret, h.client.ID, end)
	if err != nil {
		return nil, err
	}
	err = h.store.Replace(ctx, c.session, c.reservation, record, end.Sub(now))
	if errors.Is(err, fs.ErrNotExist) { // the reservation has expired
		err = h.store.Create(ctx, c.session, record, end.Sub(now))
	}
	return &loginResult{secret: &c.secret, ends: earlier(end, s.consentEnds)}, err
}

// noteExpiry writes down what was taken for the life of a token whose answer did
// not say.
func (h *Handler) noteExpiry(level zapcore.Level, token authserver.Token) {
	if token.ExpiresBy != "expires_in" {
		h.logger.Log(level, "a token answer has no expires_in", zap.String("taken", token.ExpiresBy), zap.Time("expires", token.Expires))
	}
}

// take puts a token that was just issued into the session. An answer without a
// refresh token leaves the one that was used.
func (s *session) take(token authserver.Token) {
	s.tokenIssued, s.tokenExpires = token.Issued, token.Expires
	s.setToken(token.Access)
	if token.Refresh.Reveal() != "" {
		s.refreshToken = token.Refresh
	}
	if token.Scopes != nil {
		s.scopes = strings.Join(token.Scopes, " ")
	}
	if !token.Claims.ConsentEnds.IsZero() {
		s.consentEnds = token.Claims.ConsentEnds
	}
}

// discard deletes the sessions that the request's cookies open, except the one
// that has just begun. It is housekeeping: a failure costs a record that
// nobody has the cookie for any more, until it expires.
func (h *Handler) discard(r *http.Request, current cookieSecret) {
	for secret := range h.cookies.secrets(cookieLines(r)) {
		if secret == current {
			continue
		}
		s, err := h.load(r.Context(), &secret, h.now())
		if s == nil || err != nil {
			continue
		}
		h.auth.opened.forget(s.id)
		if err := h.store.Delete(r.Context(), s.id); err != nil {
			h.logger.Warn("deleting a visitor's earlier session failed; it expires by itself", zap.Error(err))
		}
	}
}
