package truelayer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

const (
	// refreshWindow is the longest time before its end that a token is
	// refreshed, unless refresh_before says otherwise.
	refreshWindow = 5 * time.Minute
	// keepTimeout bounds the writing of a token that was refreshed, and
	// maxKeepPause the wait before a write that failed is tried again. The token
	// that it replaces may be dead already, so a store that is away for a while
	// is waited for, and another node must not come first when it is back.
	keepTimeout  = time.Minute
	maxKeepPause = 100 * time.Millisecond
	// rejectedInterval is how often an upstream's 401 makes a session refresh,
	// at most.
	rejectedInterval = time.Minute
)

// withUsableToken returns the session with an access token that can be sent, or nil if
// the session is gone. Shortly before its end a token is refreshed behind the
// request; after it, or if an upstream refused it, the request waits.
func (h *Handler) withUsableToken(ctx context.Context, s *storedSession, now time.Time) (*storedSession, error) {
	if s.refreshToken.Reveal() == "" || s.over(now) {
		return s, nil
	}
	alive := now.Before(s.tokenDies())
	refused := h.wasRejected(s)
	if alive && !refused && now.Before(h.refreshFrom(s)) {
		return s, nil
	}
	wait := h.auth.heldBack(s.id, h.client.ID, now)
	switch {
	case wait > 0 && alive:
		return s, nil
	case wait > 0:
		return nil, h.unavailable(s, now, errHeldBack, wait)
	}
	underWay := h.auth.refreshes.Begin(s.id, time.Duration(h.RefreshTimeout)+keepTimeout, func(ctx context.Context) (any, error) {
		return h.refresh(ctx, s)
	})
	if alive && !refused {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.RefreshTimeout))
	defer cancel()
	result, err := underWay.Await(ctx)
	if err != nil && alive {
		return s, nil
	}
	if err != nil {
		f, ok := errors.AsType[failure](err)
		if !ok {
			f = h.unavailable(s, now, err, time.Second)
		}
		return nil, f
	}
	return result.(*storedSession), nil
}

var errHeldBack = errors.New("an earlier refresh failed; the next one waits for its time")

// isStuck reports whether a session lasts but cannot be used: its access token has
// expired, and the last refresh has failed.
func (h *Handler) isStuck(s *storedSession, now time.Time) bool {
	return !s.over(now) && !now.Before(s.tokenDies()) && h.auth.setbackOf(s.id).attempts > 0
}

const (
	// After so many refreshes that failed, or so long after the first of them, a
	// visitor is offered to connect the bank anew.
	offerAttempts = 4
	offerAfter    = time.Minute
)

// unavailable is the failure of a request whose session is stuck.
func (h *Handler) unavailable(s *storedSession, now time.Time, cause error, retryAfter time.Duration) failure {
	f := failure{reason: tokenUnavailable, cause: cause, retryAfter: retryAfter}
	if back := h.auth.setbackOf(s.id); back.attempts >= offerAttempts || back.attempts > 0 && now.Sub(back.since) >= offerAfter {
		offer := pages.TextOf("connect_again")
		f.detail, f.action = offer.Text, offer.Action
	}
	return f
}

// refreshFrom is when the session's token begins to be refreshed: the smaller
// of five minutes and a tenth of its life before it ends, or refresh_before,
// less up to a quarter, so that tokens issued together do not end together.
func (h *Handler) refreshFrom(s *storedSession) time.Time {
	window := time.Duration(h.RefreshBefore)
	if window == 0 {
		window = min(refreshWindow, s.tokenExpires.Sub(s.tokenIssued)/10)
	}
	window = min(window, s.tokenExpires.Sub(s.tokenIssued)/2) // or each request would refresh
	window -= window / 4 * time.Duration(s.id[0]) / 256
	return s.tokenDies().Add(-window)
}

// refresh is the one refresh of a session that is under way in this process,
// and with a store that has locks, in all of them.
func (h *Handler) refresh(ctx context.Context, s *storedSession) (*storedSession, error) {
	if locker, ok := h.store.(Locker); ok {
		unlock, err := locker.Lock(ctx, s.id)
		if err != nil {
			return nil, failure{reason: storeUnavailable, cause: err}
		}
		defer unlock()
	}
	current, err := h.load(ctx, &s.secret, h.now())
	if err != nil {
		return nil, failure{reason: storeUnavailable, cause: err}
	}
	if current == nil || current.bearer.Reveal() != s.bearer.Reveal() || current.refreshToken.Reveal() == "" {
		return current, nil // gone, or refreshed by somebody else
	}
	requestCtx, cancel := context.WithTimeout(ctx, time.Duration(h.RefreshTimeout))
	token, err := h.client.Refresh(requestCtx, current.refreshToken)
	if err == nil && h.verifier != nil {
		err = h.verifier.Verify(requestCtx, token.Access)
		if err != nil {
			// what was not checked is not used, but the refresh token that was
			// sent may be dead now
			token.Access, token.Issued, token.Expires = current.accessToken(), current.tokenIssued, current.tokenExpires
			if _, keepErr := h.keep(ctx, current, token); keepErr != nil {
				h.logger.Error("keeping a refresh token failed", zap.Error(keepErr))
			}
		}
	}
	cancel()
	if answer, ok := errors.AsType[*authserver.Error](err); ok && answer.Code == "invalid_grant" {
		return h.consentOver(ctx, current)
	}
	if err != nil {
		return nil, h.refreshFailed(current, err)
	}
	h.auth.setbacks.Delete(current.id)
	h.noteExpiry(zap.DebugLevel, token)
	return h.keep(ctx, current, token)
}

// refreshFailed notes a refresh that brought nothing. None of these ends a
// session: the provider has a bad minute, or the operator a wrong secret.
func (h *Handler) refreshFailed(s *storedSession, err error) failure {
	var retryAfter time.Duration
	remedy := "the next attempt follows by itself"
	if answer, ok := errors.AsType[*authserver.Error](err); ok {
		retryAfter = answer.RetryAfter
		switch answer.Code {
		case "invalid_client", "unauthorized_client":
			remedy = "check client_id, client_secret and environment"
		}
	}
	now := h.now()
	back := h.auth.setBack(s.id, h.client.ID, now, retryAfter)
	h.logger.Warn("refreshing an access token failed", zap.Error(err), zap.String("remedy", remedy),
		zap.Int("attempts", back.attempts), zap.Duration("next_attempt_in", back.until.Sub(now)))
	return h.unavailable(s, now, err, back.until.Sub(now))
}

// keep writes a refreshed token into the store before anybody uses it. A write
// that lost against an idle touch is made again on top of it. One that lost
// against another node's refresh is not: this node has stood still meanwhile,
// or its lock was lost, and the other's token is the newer one.
func (h *Handler) keep(ctx context.Context, s *storedSession, token authserver.Token) (*storedSession, error) {
	usedAccess, usedRefresh := s.bearer.Reveal(), s.refreshToken.Reveal()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, maxKeepPause) {
		changed := s.session
		changed.take(token)
		changed.lastSeen = later(changed.lastSeen, h.now())
		kept, err := h.replace(ctx, s, changed)
		switch {
		case err == nil:
			return kept, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil // logged out meanwhile; it stays so
		case !errors.Is(err, ErrConflict):
			if !wait(ctx, pause) {
				return nil, failure{reason: storeUnavailable, cause: err}
			}
			continue
		}
		current, err := h.load(ctx, &s.secret, h.now())
		if err != nil {
			if !wait(ctx, pause) {
				return nil, failure{reason: storeUnavailable, cause: err}
			}
			continue
		}
		if current == nil || current.bearer.Reveal() != usedAccess || current.refreshToken.Reveal() != usedRefresh {
			return current, nil // gone, or another node's refresh was kept
		}
		s = current
	}
}

// consentOver ends a session's refreshing after the auth server said that the
// grant is no longer valid, unless the store has a newer one by now. What is
// left of the access token's life can be used.
func (h *Handler) consentOver(ctx context.Context, s *storedSession) (*storedSession, error) {
	for {
		current, err := h.load(ctx, &s.secret, h.now())
		if err != nil {
			return nil, failure{reason: storeUnavailable, cause: err}
		}
		if current == nil || current.refreshToken.Reveal() != s.refreshToken.Reveal() {
			return current, nil
		}
		changed := current.session
		changed.ended, changed.refreshToken = consentExpired, authserver.Secret{}
		ended, err := h.replace(ctx, current, changed)
		if errors.Is(err, ErrConflict) {
			continue // an idle touch
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, failure{reason: storeUnavailable, cause: err}
		}
		h.logger.Info("a consent is over", zap.String("provider", s.provider))
		return ended, nil
	}
}

// tellEnded answers a request whose connection is over: a visitor is told
// once, and then sent to the same bank again.
func (h *Handler) tellEnded(w http.ResponseWriter, r *http.Request, s *storedSession) error {
	returnTo := h.returnTarget(requestTarget(r))
	person := classify(r) == navigation
	if person && s.told {
		return h.startLogin(w, r, returnTo, s.provider)
	}
	changed := s.session
	changed.ended, changed.told = consentExpired, s.told || person
	changed.tokenExpires = earlier(changed.tokenExpires, h.now())
	changed.bearer, changed.refreshToken = authserver.Secret{}, authserver.Secret{}
	if changed.told != s.told || s.bearer.Reveal() != "" {
		if _, err := h.replace(context.WithoutCancel(r.Context()), s, changed); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, fs.ErrNotExist) {
			h.logger.Warn("taking the tokens out of an ended session failed", zap.Error(err))
		}
	}
	return h.fail(w, r, failure{reason: consentExpired, returnTo: returnTo})
}

// noteStatus looks at what an upstream answered. A 401 goes to the client as
// it is; the session's next request refreshes first, at most once a minute.
func (h *Handler) noteStatus(repl *caddy.Replacer, s *storedSession) {
	if s.refreshToken.Reveal() == "" {
		return
	}
	if status, ok := repl.Get("http.reverse_proxy.status_code"); !ok || status != http.StatusUnauthorized {
		return
	}
	_ = h.auth.rejected.Add(s.id, sha256.Sum256([]byte(s.bearer.Reveal())), rejectedInterval)
}

// wasRejected reports whether an upstream refused this very token.
func (h *Handler) wasRejected(s *storedSession) bool {
	digest, ok := h.auth.rejected.Get(s.id)
	return ok && digest == sha256.Sum256([]byte(s.bearer.Reveal()))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
