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
	// stuckAttempts is after how many failed refreshes a session is stuck, and
	// stuckAfter how long after the first of them, whichever comes first.
	stuckAttempts = 4
	stuckAfter    = time.Minute
)

// backoff describes a session's failed refreshes.
type backoff struct {
	attempts int
	since    time.Time // when the first of them failed
	until    time.Time // when the next attempt may be made
}

// maxBackoff is longer than any back-off. A time further ahead was noted before the
// clock was set back, and does not count.
const maxBackoff = authserver.MaxRetryAfter + time.Second

// pauseKey is the key under which backoffs has a client's pause. The auth server asked
// for it, and it holds for all sessions of that client but for no other client.
func pauseKey(client string) string { return "client " + client }

// loginPauseKey is like pauseKey, but for a client's exchanges: an auth server that asks
// for a pause of refreshes may still answer exchanges.
func loginPauseKey(client string) string { return "logins of client " + client }

// loginPause is a pause that the auth server asked for in response to a code.
type loginPause struct {
	until time.Time
	// network is the one that the code came from. As long as all is false, only this
	// network waits, so that one visitor who makes up codes does not block the logins
	// of all others.
	network netip.Prefix
	// all says that the auth server asked for a pause in response to a code from a
	// second network, so that all networks wait.
	all bool
}

// pauseLogins notes that no code of a network may be sent for d. If another network is
// paused already, it pauses all of them.
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

// loginPauseLeft returns how long the codes of a network have to wait, 0 if they need
// not wait.
func (s *Shared) loginPauseLeft(client string, network netip.Prefix, now time.Time) time.Duration {
	if pause, ok := s.loginPauseOf(client, now); ok && (pause.all || pause.network == network) {
		return pause.until.Sub(now)
	}
	return 0
}

// backOff notes a failed refresh and returns when the next attempt may be made. The
// delay doubles up to a minute. It has a random part, so that sessions that failed at
// the same time are not all refreshed again at the same time.
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

// backoffOf returns the back-off of a session. It is zero if the last refresh did not
// fail.
func (s *Shared) backoffOf(id string) backoff {
	found, _ := s.backoffs.Get(id)
	back, _ := found.(backoff)
	return back
}

// pause notes that nothing may be sent under a key for d, unless a longer pause is noted
// already.
func (s *Shared) pause(key string, now time.Time, d time.Duration) {
	if s.pauseLeft(key, now) < d {
		s.backoffs.SetDefault(key, backoff{until: now.Add(d)})
	}
}

// pauseLeft returns how long the pause or the back-off under a key still lasts, 0 if
// there is none.
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

// Paused reports whether the auth server has asked the manager's client to send fewer
// requests for tokens, so that at present it sends none of some kind.
func (m *Manager) Paused(now time.Time) bool {
	_, logins := m.Shared.loginPauseOf(m.Client.ID, now)
	return logins || m.Shared.pauseLeft(pauseKey(m.Client.ID), now) > 0
}

// refreshDelay returns how long a session's refresh has to wait, 0 if it need not wait.
func (s *Shared) refreshDelay(id, client string, now time.Time) time.Duration {
	return max(s.pauseLeft(id, now), s.pauseLeft(pauseKey(client), now))
}

// refreshFailed notes and logs a failed refresh, and returns the error for the requests
// that waited for it. Such a failure never ends a session, since it may be a passing
// outage or a wrong secret in the configuration.
func (m *Manager) refreshFailed(s *Session, err error) error {
	var retryAfter time.Duration
	remedy := "none, the next attempt is automatic"
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

// unavailable returns the error for a request whose session has no usable token.
func (m *Manager) unavailable(s *Session, now time.Time, cause error, retryAfter time.Duration) error {
	back := m.Shared.backoffOf(s.id)
	stuck := back.attempts >= stuckAttempts || back.attempts > 0 && now.Sub(back.since) >= stuckAfter
	return &Error{Kind: TokenUnavailable, Cause: cause, RetryAfter: retryAfter, Stuck: stuck}
}

// HasNoToken reports whether a session has not ended but cannot be used, because its
// access token has expired and the last refresh failed.
func (m *Manager) HasNoToken(s *Session, now time.Time) bool {
	return !s.IsOver(now) && !now.Before(s.tokenEnds()) && m.Shared.backoffOf(s.id).attempts > 0
}

// NoteRejected notes that an upstream answered the session's access token with 401. The
// session's next request then refreshes the token first, at most once a minute.
func (m *Manager) NoteRejected(s *Session) {
	if s.refreshToken.Reveal() != "" {
		_ = m.Shared.rejected.Add(s.id, sha256.Sum256([]byte(s.Bearer())), rejectedInterval)
	}
}

// wasRejected reports whether an upstream refused the session's current access token.
func (m *Manager) wasRejected(s *Session) bool {
	digest, ok := m.Shared.rejected.Get(s.id)
	return ok && digest == sha256.Sum256([]byte(s.Bearer()))
}
