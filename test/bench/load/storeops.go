package main

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gets is what reading a store took.
type gets struct {
	Gets   int
	Median time.Duration
}

// writes is what writing to a store took, the median of each kind of write.
type writes struct{ Create, Replace, Delete time.Duration }

// fill creates all records and returns their number.
func (s *storeAlone) fill(ctx context.Context) (int, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU()))
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		errs    [16]error
	)
	for i := range errs {
		workers.Go(func() {
			for errs[i] == nil {
				n := int(next.Add(1) - 1)
				if n >= len(s.ids) {
					return
				}
				errs[i] = s.store.Create(ctx, s.ids[n], make([]byte, recordSize), time.Hour)
			}
		})
	}
	workers.Wait()
	return len(s.ids), errors.Join(errs[:]...)
}

// readAgain is how many records are read over and over.
const readAgain = 1000

// readAgain reads a few records over and over, which a store that remembers
// what it read has at hand then. They are timed a hundred at a time, as a look
// at the clock may take as long as a Get.
func (s *storeAlone) readAgain(ctx context.Context) (gets, error) {
	const together = 100
	ids := s.ids[:min(readAgain, len(s.ids))]
	for _, id := range ids {
		if _, err := s.store.Get(ctx, id); err != nil {
			return gets{}, err
		}
	}
	var times []time.Duration
	turn := 0
	for until := time.Now().Add(s.Time); ; {
		began := time.Now()
		for range together {
			if _, err := s.store.Get(ctx, ids[turn]); err != nil {
				return gets{}, err
			}
			if turn++; turn == len(ids) {
				turn = 0
			}
		}
		ended := time.Now()
		times = append(times, ended.Sub(began)/together)
		if ended.After(until) {
			return gets{together * len(times), median(times)}, nil
		}
	}
}

// readOnce reads records that it has not read before, each one once.
func (s *storeAlone) readOnce(ctx context.Context) (gets, error) {
	times := make([]time.Duration, 0, len(s.ids))
	until := time.Now().Add(s.Time)
	for began := time.Now(); len(times) < len(s.ids) && began.Before(until); {
		if _, err := s.store.Get(ctx, s.ids[len(times)]); err != nil {
			return gets{}, err
		}
		ended := time.Now()
		times, began = append(times, ended.Sub(began)), ended
	}
	return gets{len(times), median(times)}, nil
}

// write creates, replaces and deletes one record after the other.
func (s *storeAlone) write(ctx context.Context) (writes, error) {
	var times [3][]time.Duration
	until := time.Now().Add(s.Time)
	for n := 0; n == 0 || time.Now().Before(until); n++ {
		id := s.id(-1 - n)
		old, record := make([]byte, recordSize), make([]byte, recordSize)
		binary.BigEndian.PutUint64(record, 1)
		for kind, write := range []func() error{
			func() error { return s.store.Create(ctx, id, old, time.Hour) },
			func() error { return s.store.Replace(ctx, id, old, record, time.Hour) },
			func() error { return s.store.Delete(ctx, id) },
		} {
			began := time.Now()
			if err := write(); err != nil {
				return writes{}, err
			}
			times[kind] = append(times[kind], time.Since(began))
		}
	}
	return writes{median(times[0]), median(times[1]), median(times[2])}, nil
}

// median is that of some times, of which there is at least one. It sorts them.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
