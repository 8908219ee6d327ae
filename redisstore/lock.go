package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

const (
	// lockTTL is how long a lock lasts after its holder renewed it.
	lockTTL = 5 * time.Second
	// maxLockPoll is the longest wait between two attempts to take a lock. A
	// refresh takes a few hundred milliseconds.
	maxLockPoll = 100 * time.Millisecond
)

// A lock is a key with its holder's random token. The scripts check the token: a
// holder that was paused may find that another process has taken the lock.
const (
	renewScript = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`
	unlockScript = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`
)

// Lock implements truelayer.Locker.
func (s *Store) Lock(ctx context.Context, id string) (unlock func(), err error) {
	l := &lock{s: s, id: id, token: rand.Text(), done: make(chan struct{})}
	for poll := 5 * time.Millisecond; ; poll = min(2*poll, maxLockPoll) {
		err := l.take(ctx)
		if err == nil {
			go l.renew(context.WithoutCancel(ctx))
			return func() { l.release(context.WithoutCancel(ctx)) }, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		timer := time.NewTimer(poll/2 + mathrand.N(poll/2)) //nolint:gosec // random, not secret
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// lock is a lock that is held or waited for.
type lock struct {
	s         *Store
	id, token string
	done      chan struct{}
}

func (l *lock) key() string { return l.s.key(l.id) + ":lock" }

func (l *lock) do(ctx context.Context, connect connectFunc, what string, command func(rueidis.Builder) rueidis.Completed) (rueidis.RedisResult, error) {
	return l.s.do(ctx, connect, what, func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return client.Do(ctx, command(client.B()).Pin())
	})
}

// take takes the lock if it is free. Otherwise the error is fs.ErrNotExist, which
// is what do makes of Redis's answer.
func (l *lock) take(ctx context.Context) error {
	_, err := l.do(ctx, l.s.client, "taking a lock", func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(l.key()).Value(l.token).Nx().PxMilliseconds(lockTTL.Milliseconds()).Build()
	})
	return err
}

// renew renews the lock until it is released or lost.
func (l *lock) renew(ctx context.Context) {
	ticker := time.NewTicker(lockTTL / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		answer, err := l.do(ctx, l.s.clientDespiteOutage, "renewing a lock", func(b rueidis.Builder) rueidis.Completed {
			return b.Eval().Script(renewScript).Numkeys(1).Key(l.key()).
				Arg(l.token, strconv.FormatInt(lockTTL.Milliseconds(), 10)).Build()
		})
		if err != nil {
			continue // the next renewal may succeed
		}
		if renewed, err := answer.AsBool(); err == nil && !renewed {
			return
		}
	}
}

// release releases the lock. If that fails, the lock expires.
func (l *lock) release(ctx context.Context) {
	close(l.done)
	_, err := l.do(ctx, l.s.clientDespiteOutage, "releasing a lock", func(b rueidis.Builder) rueidis.Completed {
		return b.Eval().Script(unlockScript).Numkeys(1).Key(l.key()).Arg(l.token).Build()
	})
	if err != nil {
		l.s.logger.Warn("releasing a lock failed; it expires", zap.Error(err))
	}
}
