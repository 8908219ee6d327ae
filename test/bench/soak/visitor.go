package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// visitor opens pages of the site now and then.
type visitor struct {
	cookie    string
	transport http.RoundTripper

	answered, unavailable, lost, failed atomic.Int64
}

// use opens pages until ctx ends, two a second, sometimes several at once.
func (v *visitor) use(ctx context.Context, site string) {
	for ctx.Err() == nil {
		var wg sync.WaitGroup
		for range 1 + rand.IntN(3) { //nolint:gosec // random, not secret
			wg.Go(func() { v.open(ctx, site) })
		}
		wg.Wait()
		timer := time.NewTimer(rand.N(time.Second)) //nolint:gosec // random, not secret
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (v *visitor) open(ctx context.Context, site string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, site+"/page", nil)
	if err != nil {
		v.failed.Add(1)
		return
	}
	req.Header.Set("Cookie", v.cookie)
	resp, err := v.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() == nil {
			v.failed.Add(1)
		}
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	switch resp.StatusCode {
	case http.StatusOK:
		v.answered.Add(1)
	case http.StatusServiceUnavailable:
		v.unavailable.Add(1)
	default:
		v.lost.Add(1)
	}
}

// upstream looks at the tokens that reach the application.
type upstream struct {
	mu             sync.Mutex
	requests, dead int
	tokens         map[string]map[string]bool // by connection
}

func (u *upstream) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	subject, id, expires := claims(r.Header.Get("Authorization"))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests++
	if !time.Now().Before(expires) {
		u.dead++
	}
	if u.tokens == nil {
		u.tokens = make(map[string]map[string]bool)
	}
	if u.tokens[subject] == nil {
		u.tokens[subject] = make(map[string]bool)
	}
	u.tokens[subject][id] = true
}

// reset begins a new count of tokens; dead ones stay counted.
func (u *upstream) reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.tokens)
}

// renewals is how often a connection's token was seen to change.
func (u *upstream) renewals() (n int) {
	for _, tokens := range u.tokens {
		n += len(tokens) - 1
	}
	return n
}

// claims reads a token that this process's own simulator issued.
func claims(authorization string) (subject, id string, expires time.Time) {
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	if len(parts) != 3 {
		return "", "", time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", time.Time{}
	}
	var c struct {
		ID      string `json:"jti"`
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return "", "", time.Time{}
	}
	return c.Subject, c.ID, time.Unix(c.Expires, 0)
}

// report says what has happened so far.
func (w *world) report(visitors []*visitor, phase string, refreshes int) string {
	var answered, unavailable, lost, failed int64
	for _, v := range visitors {
		answered += v.answered.Load()
		unavailable += v.unavailable.Load()
		lost += v.lost.Load()
		failed += v.failed.Load()
	}
	w.upstream.mu.Lock()
	defer w.upstream.mu.Unlock()
	renewals := w.upstream.renewals()
	return fmt.Sprintf(`%s:
	requests answered %d, told to try again (503) %d, failed %d, without session %d (all so far)
	requests upstream %d, with a dead token %d (all so far)
	token requests %d, tokens renewed %d: %.3f for each
	reloads %d (all so far)`,
		phase, answered, unavailable, failed, lost, w.upstream.requests, w.upstream.dead,
		refreshes, renewals, float64(refreshes)/float64(max(1, renewals)), w.reloads-1)
}

// verdict is an error if something happened that never may.
func (w *world) verdict(visitors []*visitor) error {
	for _, v := range visitors {
		if v.lost.Load() > 0 || v.failed.Load() > 0 {
			return errSoak
		}
	}
	w.upstream.mu.Lock()
	defer w.upstream.mu.Unlock()
	if w.upstream.dead > 0 {
		return errSoak
	}
	return nil
}
