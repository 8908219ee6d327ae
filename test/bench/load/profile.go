package main

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// profile keeps CPU profiles of both contenders in the directory, if there is
// one, while a duel of theirs runs that does not count: what a profile costs
// is not the contenders' doing.
func profile(ctx context.Context, o *options, store string, one, other *contender) error {
	if o.profiles == "" {
		return nil
	}
	length := max(o.roundTime, 2*time.Second)
	var (
		sides sync.WaitGroup
		errs  [3]error
	)
	for i, c := range []*contender{one, other} {
		file := filepath.Join(o.profiles, []string{"truelayer-" + store, "bare-" + store}[i]+".cpu")
		sides.Go(func() { errs[i] = c.process.profile(ctx, file, length) })
	}
	short := *o
	short.rounds, short.roundTime = 1, length
	_, errs[2] = duel(ctx, &short, one, other)
	sides.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *process) profile(ctx context.Context, file string, length time.Duration) error {
	body, err := p.call(ctx, "/profile", url.Values{"seconds": {strconv.Itoa(int(length.Seconds()))}})
	if err != nil {
		return err
	}
	defer body.Close()
	out, err := os.Create(file) //nolint:gosec // a file of the tests' own
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, body); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
