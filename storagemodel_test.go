package truelayer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// slowDisk is a storage that takes its time, for processes that die. It keeps
// a dead one's locks for ever.
type slowDisk struct {
	mu      sync.Mutex
	random  *rand.Rand
	files   map[string][]byte
	locks   map[string]bool
	damaged map[string]bool // locks that answer with an error
}

func (d *slowDisk) chance(oneIn int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(oneIn) == 0
}

// take lets some time pass.
func (d *slowDisk) take(atMost time.Duration) {
	d.mu.Lock()
	pause := time.Duration(d.random.Int64N(int64(atMost)))
	d.mu.Unlock()
	time.Sleep(pause)
}

// diskProcess is what one process has of a disk.
type diskProcess struct {
	certmagic.Storage // what the store does not need
	*slowDisk
	dead bool
}

var errDead = errors.New("this process is dead")

func (p *diskProcess) Load(_ context.Context, key string) ([]byte, error) {
	p.take(200 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	value, ok := p.files[key]
	switch {
	case p.dead:
		return nil, errDead
	case !ok:
		return nil, fs.ErrNotExist
	}
	return value, nil
}

// change changes a file, unless the process dies before or after it did.
func (p *diskProcess) change(f func()) error {
	dies := p.chance(30)
	p.take(1500 * time.Millisecond)
	happens := p.chance(2)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead && (!dies || happens) {
		f()
	}
	if p.dead = p.dead || dies; p.dead {
		return errDead
	}
	return nil
}

func (p *diskProcess) Store(_ context.Context, key string, value []byte) error {
	return p.change(func() { p.files[key] = value })
}

func (p *diskProcess) Delete(_ context.Context, key string) error {
	return p.change(func() { delete(p.files, key) })
}

func (p *diskProcess) Lock(ctx context.Context, name string) error {
	for {
		p.take(20 * time.Millisecond)
		p.mu.Lock()
		dead, damaged, taken := p.dead, p.damaged[name], p.locks[name]
		if !dead && !damaged && !taken {
			p.locks[name] = true
			p.damaged[name] = p.random.IntN(30) == 0
		}
		p.mu.Unlock()
		switch {
		case dead:
			return errDead
		case damaged:
			return errors.New("the lock is damaged")
		case !taken:
			return nil
		case !wait(ctx, time.Second):
			return ctx.Err()
		}
	}
}

func (p *diskProcess) Unlock(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	delete(p.locks, name)
	delete(p.damaged, name)
	return nil
}

// TestStorageOneWriter: of the writers that hold the same record one succeeds,
// while processes die with their locks and locks are damaged.
func TestStorageOneWriter(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { oneWriter(t, seed) })
		})
	}
}

func oneWriter(t *testing.T, seed uint64) {
	const id, writers, writes = "id", 5, 60
	disk := &slowDisk{
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // random, not secret
		files:  make(map[string][]byte), locks: make(map[string]bool), damaged: make(map[string]bool),
	}
	var mu sync.Mutex
	successors := make(map[string]int) // of a record, as acknowledged
	var deaths, won, gone int
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			var p *diskProcess
			var s *StorageStore
			for n := range writes {
				if p == nil || p.dead {
					p = &diskProcess{slowDisk: disk}
					s = &StorageStore{storage: p, shared: newStorageProcess(0), logger: zap.NewNop()}
				}
				old, err := s.Get(t.Context(), id)
				start := time.Now()
				switch next := fmt.Appendf(nil, "%d/%d", writer, n); {
				case errors.Is(err, fs.ErrNotExist):
					err = s.Create(t.Context(), id, next, 24*time.Hour)
				case err == nil && disk.chance(10):
					if err = s.Delete(t.Context(), id); err == nil {
						mu.Lock()
						gone++
						mu.Unlock()
					}
				case err == nil:
					if err = s.Replace(t.Context(), id, old, next, 24*time.Hour); err == nil {
						mu.Lock()
						won++
						if successors[string(old)]++; successors[string(old)] > 1 {
							t.Errorf("%q was replaced twice", old)
						}
						mu.Unlock()
					}
				}
				switch {
				case errors.Is(err, errDead):
					mu.Lock()
					deaths++
					mu.Unlock()
				case err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrConflict) && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				disk.take(3 * time.Second)
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Minute) // for what goes on behind the writers
	if won < writes || deaths == 0 || gone == 0 {
		t.Errorf("%d replaced, %d deleted, %d died", won, gone, deaths)
	}
	t.Logf("%d replaced, %d deleted, %d died, %d locks are left", won, gone, deaths, len(disk.locks))
}
