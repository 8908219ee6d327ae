package session

import (
	"context"
	"errors"
	"io/fs"
)

// keepAttempts is how often a write is repeated that lost against others, such as the
// notes that the session is in use.
const keepAttempts = 5

// maxKept bounds what can be kept with a session, in bytes.
const maxKept = 4 << 10

var errKeptConflict = errors.New("other writes to the session came first again and again")

// Keep changes what is kept with a session, on top of what the store has by now. Change is
// given what is kept, and returns what is to be kept, or false to leave it. It may be
// called several times. Keep returns the session as it is then, or nil if it is gone.
func (m *Manager) Keep(ctx context.Context, s *Session, change func(kept string) (string, bool)) (*Session, error) {
	for range keepAttempts {
		current, err := m.Reload(ctx, s)
		if current == nil || err != nil {
			return nil, err
		}
		changed := current.body
		var write bool
		if changed.Kept, write = change(current.Kept); !write {
			return current, nil
		}
		if len(changed.Kept) > maxKept {
			return nil, storeError(errors.New("there is too much to be kept with the session"))
		}
		kept, err := m.replace(ctx, current, changed)
		switch {
		case err == nil:
			return kept, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case !errors.Is(err, ErrConflict):
			return nil, storeError(err)
		}
	}
	return nil, storeError(errKeptConflict)
}

// Reload returns a session as the store has it by now, or nil if it is gone.
func (m *Manager) Reload(ctx context.Context, s *Session) (*Session, error) {
	return m.load(ctx, &s.secret, m.Now())
}

// DeriveKey returns a key for a purpose that only those have who have the session's cookie.
func (m *Manager) DeriveKey(s *Session, purpose string) [32]byte {
	return m.Label.derive("kept "+purpose, s.secret[:])
}
