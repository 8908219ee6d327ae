package truelayer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// unreachable is a store whose reads fail so many times.
type unreachable struct {
	TokenStore
	failures int
	err      error
}

func (s *unreachable) Get(ctx context.Context, id string) ([]byte, error) {
	if s.failures > 0 {
		s.failures--
		return nil, s.err
	}
	return s.TokenStore.Get(ctx, id)
}

func (*unreachable) String() string { return "redis.internal:6379" }

// TestStoreCheck: a store that does not answer is told of once, with where it is and
// more than that a time was over, and once more when it answers.
func TestStoreCheck(t *testing.T) {
	b := newBench(t, nil)
	for name, test := range map[string]struct {
		failures int
		err      error
		want     []string
	}{
		"it answers":        {0, nil, nil},
		"refused":           {3, errors.New("connection refused"), []string{"the store does not answer", "the store answers now"}},
		"no answer in time": {2, context.DeadlineExceeded, []string{"the store does not answer", "the store answers now"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zapcore.InfoLevel)
				store := &unreachable{b.sessions.Store.(TokenStore), test.failures, test.err}
				watchStore(t.Context(), store, time.Second, zap.New(core).With(zap.String("store", storeName(store, "redis"))))
				lines := logs.All()
				if len(lines) != len(test.want) {
					t.Fatalf("%v", lines)
				}
				for i, want := range test.want {
					if !strings.HasPrefix(lines[i].Message, want) || lines[i].ContextMap()["store"] != "redis at redis.internal:6379" {
						t.Errorf("%v", lines[i])
					}
				}
				for _, line := range lines {
					if text, said := line.ContextMap()["error"].(string); said && text == "context deadline exceeded" {
						t.Errorf("nothing but %q is said", text)
					}
				}
			})
		})
	}
}

// TestStoreCheckEnds: the check ends with its configuration.
func TestStoreCheckEnds(t *testing.T) {
	b := newBench(t, nil)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			watchStore(ctx, &unreachable{b.sessions.Store.(TokenStore), 1 << 30, errors.New("refused")}, time.Second, zap.NewNop())
			close(done)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}
