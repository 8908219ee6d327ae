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
	// lockTTL is how long a lock lasts after its holder was heard of last.
	lockTTL = 5 * time.Second
	// maxLockPoll is the longest wait between two looks at a lock that another
	// process holds. A refresh takes some hundred milliseconds.
	maxLockPoll = 100 * time.Millisecond
)

// A lock is a key with the holder's random token. Only its holder renews or
// deletes it: a holder that stood still may find another's in its place.
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
		if !errors.Is(err, fs.ErrNotExist) { // anything but: another has it
			return nil, err
		}
		timer := time.NewTimer(poll/2 + mathrand.N(poll/2)) //nolint:gosec // spread, not secret
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// lock is a lock that is held, or asked for.
type lock struct {
	s         *Store
	id, token string
	done      chan struct{}
}

func (l *lock) key() string { return l.s.key(l.id) + ":lock" }

func (l *lock) do(ctx context.Context, connect connector, what string, command func(rueidis.Builder) rueidis.Completed) (rueidis.RedisResult, error) {
	return l.s.do(ctx, connect, what, func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return client.Do(ctx, command(client.B()).Pin())
	})
}

// take takes the lock if it is free. The error is fs.ErrNotExist if it is not.
func (l *lock) take(ctx context.Context) error {
	_, err := l.do(ctx, l.s.client, "taking a lock", func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(l.key()).Value(l.token).Nx().PxMilliseconds(lockTTL.Milliseconds()).Build()
	})
	return err
}

// renew keeps the lock until it is released or another's.
func (l *lock) renew(ctx context.Context) {
	ticker := time.NewTicker(lockTTL / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		answer, err := l.do(ctx, l.s.connection, "renewing a lock", func(b rueidis.Builder) rueidis.Completed {
			return b.Eval().Script(renewScript).Numkeys(1).Key(l.key()).
				Arg(l.token, strconv.FormatInt(lockTTL.Milliseconds(), 10)).Build()
		})
		if err != nil {
			continue // it may still be ours at the next try
		}
		if renewed, err := answer.AsBool(); err == nil && !renewed {
			return
		}
	}
}

// release gives the lock back. If that fails it ends by itself.
func (l *lock) release(ctx context.Context) {
	close(l.done)
	_, err := l.do(ctx, l.s.connection, "releasing a lock", func(b rueidis.Builder) rueidis.Completed {
		return b.Eval().Script(unlockScript).Numkeys(1).Key(l.key()).Arg(l.token).Build()
	})
	if err != nil {
		l.s.logger.Warn("releasing a lock failed; it ends by itself", zap.Error(err))
	}
}
