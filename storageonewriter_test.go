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

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
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
		case !flight.Sleep(ctx, time.Second):
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
	var all tried
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := oneWriter(t, seed)
				all.replaced, all.deleted, all.died = all.replaced+now.replaced, all.deleted+now.deleted, all.died+now.died
			})
		})
	}
	if all.replaced < 1000 || all.deleted < 100 || all.died < 20 {
		t.Errorf("that was too easy: %+v", all)
	}
}

// tried is what became of writes.
type tried struct{ replaced, deleted, died int }

func oneWriter(t *testing.T, seed uint64) (all tried) {
	const id, writers, writes = "id", 5, 60
	disk := &slowDisk{
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // random, not secret
		files:  make(map[string][]byte), locks: make(map[string]bool), damaged: make(map[string]bool),
	}
	var mu sync.Mutex
	replaced := make(map[string]bool)
	note := func(err error, old []byte) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, errDead):
			all.died++
		case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrConflict), errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			t.Error(err)
		case old == nil:
			all.deleted++
		case replaced[string(old)]:
			t.Errorf("%q was replaced twice", old)
		default:
			replaced[string(old)] = true
			all.replaced++
		}
	}
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			p := &diskProcess{dead: true}
			var s *StorageStore
			for n := range writes {
				if p.dead {
					p = &diskProcess{slowDisk: disk}
					s = storeOn(p, newStorageProcessState(0))
				}
				next := fmt.Appendf(nil, "%d/%d", writer, n)
				switch old, err := s.Get(t.Context(), id); {
				case err != nil:
					if err := s.Create(t.Context(), id, next, 24*time.Hour); err != nil {
						note(err, nil)
					}
				case disk.chance(10):
					note(s.Delete(t.Context(), id), nil)
				default:
					note(s.Replace(t.Context(), id, old, next, 24*time.Hour), old)
				}
				disk.take(3 * time.Second)
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Minute) // for what goes on behind the writers
	return all
}
