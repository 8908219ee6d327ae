package session

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	// After so many refreshes that failed, or so long after the first of them, a
	// session is stuck.
	stuckAttempts = 4
	stuckAfter    = time.Minute
	// rejectedInterval is how often an upstream's 401 makes a session refresh,
	// at most.
	rejectedInterval = time.Minute
)

// setback is a session's failed refreshes.
type backoff struct {
	attempts int
	since    time.Time // of the first of them
	until    time.Time // when the next may be tried
}

// longestSetback is more than any wait: a time that is later still was noted
// before the clock was set back.
const maxBackoff = authserver.MaxRetryAfter + time.Second

// pauseKey is the key of a client's setback: the auth server asked for a pause,
// which holds for all sessions of that client and for no other client's.
func pauseKey(client string) string { return "client " + client }

// loginPauseKey is the key of the same for a client's exchanges, which a server that
// is away for refreshes may go on answering.
func loginPauseKey(client string) string { return "logins of client " + client }

// loginPause is a pause that the auth server asked for in answer to a code.
type loginPause struct {
	until time.Time
	// network is the one whose code it was. It alone waits until a code of another
	// one is answered so, too: one visitor's invented codes do not close logins for
	// all others.
	network netip.Prefix
	all     bool
}

// pauseLogins notes that no codes are to be sent for a while.
func (s *Shared) pauseLogins(client string, network netip.Prefix, now time.Time, d time.Duration) {
	pause := loginPause{until: now.Add(d), network: network}
	if earlier, ok := s.loginPauseOf(client, now); ok {
		pause.all = earlier.all || earlier.network != network
		pause.until = later(pause.until, earlier.until)
	}
	s.backoffs.SetDefault(loginPauseKey(client), pause)
}

func (s *Shared) loginPauseOf(client string, now time.Time) (loginPause, bool) {
	found, _ := s.backoffs.Get(loginPauseKey(client))
	pause, ok := found.(loginPause)
	left := pause.until.Sub(now)
	return pause, ok && left > 0 && left <= maxBackoff
}

// loginsPaused is how long codes of a network have to wait, 0 if they need not.
func (s *Shared) loginPauseLeft(client string, network netip.Prefix, now time.Time) time.Duration {
	if pause, ok := s.loginPauseOf(client, now); ok && (pause.all || pause.network == network) {
		return pause.until.Sub(now)
	}
	return 0
}

// setBack notes a failed refresh and returns when the next may be tried. The
// delay doubles up to a minute and is spread, so that sessions which failed
// together do not come back together.
func (s *Shared) backOff(id, client string, now time.Time, retryAfter time.Duration) backoff {
	back := s.backoffOf(id)
	if back.attempts++; back.attempts == 1 {
		back.since = now
	}
	delay := min(time.Second<<min(back.attempts-1, 6), time.Minute)
	delay = max(delay/2+rand.N(delay/2), retryAfter) //nolint:gosec // spread, not secret
	back.until = now.Add(delay)
	s.backoffs.SetDefault(id, back)
	if retryAfter > 0 {
		s.pause(pauseKey(client), now, retryAfter)
	}
	return back
}

// setbackOf returns a session's failed refreshes; the zero setback if the last one
// did not fail.
func (s *Shared) backoffOf(id string) backoff {
	found, _ := s.backoffs.Get(id)
	back, _ := found.(backoff)
	return back
}

// pause notes that nothing is to be sent for a while under a key, unless that is
// known for longer.
func (s *Shared) pause(key string, now time.Time, d time.Duration) {
	if s.pauseLeft(key, now) < d {
		s.backoffs.SetDefault(key, backoff{until: now.Add(d)})
	}
}

// paused is how long that lasts, 0 if it is over.
func (s *Shared) pauseLeft(key string, now time.Time) time.Duration {
	found, ok := s.backoffs.Get(key)
	if !ok {
		return 0
	}
	if left := found.(backoff).until.Sub(now); left <= maxBackoff {
		return max(0, left)
	}
	return 0
}

// heldBack is how long a session's refresh has to wait, 0 if it need not.
func (s *Shared) refreshDelay(id, client string, now time.Time) time.Duration {
	return max(s.pauseLeft(id, now), s.pauseLeft(pauseKey(client), now))
}

// refreshFailed notes a refresh that brought nothing. None of these ends a
// session: the provider has a bad minute, or the operator a wrong secret.
func (m *Manager) refreshFailed(s *Session, err error) error {
	var retryAfter time.Duration
	remedy := "the next attempt follows by itself"
	if answer, ok := errors.AsType[*authserver.Error](err); ok {
		retryAfter = answer.RetryAfter
		switch answer.Code {
		case "invalid_client", "unauthorized_client":
			remedy = "check client_id, client_secret and environment"
		}
	}
	now := m.Now()
	back := m.Shared.backOff(s.id, m.Client.ID, now, retryAfter)
	m.Logger.Warn("refreshing an access token failed", zap.Error(err), zap.String("remedy", remedy),
		zap.Int("attempts", back.attempts), zap.Duration("next_attempt_in", back.until.Sub(now)))
	return m.unavailable(s, now, err, back.until.Sub(now))
}

// unavailable is the error for a request whose session has no token to send.
func (m *Manager) unavailable(s *Session, now time.Time, cause error, retryAfter time.Duration) error {
	back := m.Shared.backoffOf(s.id)
	stuck := back.attempts >= stuckAttempts || back.attempts > 0 && now.Sub(back.since) >= stuckAfter
	return &Error{Kind: TokenUnavailable, Cause: cause, RetryAfter: retryAfter, Stuck: stuck}
}

// HasNoToken reports whether a session lasts but cannot be used: its access token
// has expired, and the last refresh has failed.
func (m *Manager) HasNoToken(s *Session, now time.Time) bool {
	return !s.IsOver(now) && !now.Before(s.tokenEnds()) && m.Shared.backoffOf(s.id).attempts > 0
}

// NoteRejected notes that an upstream has refused the session's access token with
// 401. The session's next request refreshes first, at most once a minute.
func (m *Manager) NoteRejected(s *Session) {
	if s.refreshToken.Reveal() != "" {
		_ = m.Shared.rejected.Add(s.id, sha256.Sum256([]byte(s.Bearer())), rejectedInterval)
	}
}

// wasRejected reports whether an upstream refused this very token.
func (m *Manager) wasRejected(s *Session) bool {
	digest, ok := m.Shared.rejected.Get(s.id)
	return ok && digest == sha256.Sum256([]byte(s.Bearer()))
}
