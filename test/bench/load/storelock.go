package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// lockHeld is for how long a lock is held that somebody waits for: about what
// a token request takes.
const lockHeld = 200 * time.Millisecond

// measureLocks is how long it takes to get a lock that nobody has, and one
// that another process has for a while.
func measureLocks(ctx context.Context, o *options, t *table) error {
	for _, store := range []string{storeStorage, storeRedis} {
		if err := measureLock(ctx, o, t, store); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func measureLock(ctx context.Context, o *options, t *table, store string) error {
	b, err := openBacking(ctx, o, store, 0)
	if err != nil {
		return err
	}
	defer b.stop()
	role := storeRole{Store: b.store, Seed: rand.Text()}
	var both [2]*process
	for i := range both {
		if both[i], err = startStore(ctx, o, role); err != nil {
			return err
		}
		defer both[i].stop()
	}
	var free, taken []time.Duration
	for round := range o.rounds + 1 {
		first, second, err := lockTwice(ctx, both)
		if err != nil {
			return err
		}
		if round > 0 { // the first one connects
			free, taken = append(free, first), append(taken, second)
		}
	}
	t.note(fmt.Sprintf("a lock of store %s that nobody holds, median", store), brief(median(free)))
	t.note(fmt.Sprintf("the same that another process holds for another %v", lockHeld), brief(median(taken)))
	return nil
}

// lockTwice lets the second process wait for a lock that the first one holds,
// and returns how long each needed to get it.
func lockTwice(ctx context.Context, both [2]*process) (first, second time.Duration, err error) {
	if err := both[0].ask(ctx, "/lock", nil, &first); err != nil {
		return 0, 0, err
	}
	got := make(chan error, 1)
	go func() { got <- both[1].ask(ctx, "/lock", nil, &second) }()
	time.Sleep(lockHeld)
	err = both[0].ask(ctx, "/unlock", nil, new(time.Duration))
	if waited := <-got; err == nil {
		err = waited
	}
	if err == nil {
		err = both[1].ask(ctx, "/unlock", nil, new(time.Duration))
	}
	return first, second, err
}
