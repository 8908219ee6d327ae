package vouch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// bench is an Asker, the API that it asks, a session, and a clock.
type bench struct {
	*Asker
	mu      sync.Mutex
	kept    string
	token   string
	renewed int
	broken  bool // the session cannot be written
	clock   time.Time
	asked   atomic.Int64
	answer  atomic.Pointer[func(w http.ResponseWriter, r *http.Request)]
	results []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{token: "token-1", clock: time.Unix(1_800_000_000, 0)}
	b.says(http.StatusOK, `{"verified":true,"match_score":90,"account_holder_name":"Ada  Byron","report":[{"verifiable":true}]}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		(*b.answer.Load())(w, r)
	}))
	t.Cleanup(server.Close)
	b.Asker = &Asker{
		API: authserver.NewServer(server.URL), MaxAge: time.Hour, Now: b.now, Shared: NewShared(b.now),
		Observe: func(context.Context) func(Result, error) {
			return func(r Result, err error) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.results = append(b.results, fmt.Sprint(r, err != nil))
			}
		},
	}
	return b
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

func (b *bench) says(status int, body string) {
	b.does(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func (b *bench) does(answer func(w http.ResponseWriter, r *http.Request)) { b.answer.Store(&answer) }

// ask asks about a name, as the root package does.
func (b *bench) ask(t *testing.T, name string) State {
	t.Helper()
	name = Fold(name)
	q := Question{Session: (*kept)(b), ID: "a session", Network: netip.MustParsePrefix("192.0.2.1/32"), Name: name, Key: Key([]byte("key"), name)}
	b.mu.Lock()
	state := Read(b.kept)
	b.mu.Unlock()
	if known, ok := b.Known(state, q.Key); ok {
		return known
	}
	return b.Ask(t.Context(), q)
}

// kept is the session of a bench.
type kept bench

func (k *kept) Load(context.Context) (string, authserver.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept, authserver.NewSecret(k.token), nil
}

func (k *kept) Renew(context.Context) (authserver.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.renewed++; k.renewed > 1 {
		return authserver.Secret{}, errors.New("no other token")
	}
	k.token = "token-2"
	return authserver.NewSecret(k.token), nil
}

func (k *kept) Keep(_ context.Context, change func(string) (string, bool)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errors.New("the store fails")
	}
	k.mu.Unlock() // change may look at the clock
	after, write := change(k.kept)
	k.mu.Lock()
	if write {
		k.kept = after
	}
	return nil
}

// TestAsk: the bank is asked once about a name, and again when its word is old. The name is
// kept nowhere, and the holder's only if it is to be known.
func TestAsk(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"Ada Byron", "  Ada\tByron ", "Ada\u00a0Byron"} {
		if s := b.ask(t, name); s.Result != Match || s.Score != 90 || !s.At.Equal(b.clock) || s.Holder != "" {
			t.Errorf("%+v", s)
		}
	}
	if n := b.asked.Load(); n != 1 || strings.Contains(b.kept, "Ada") {
		t.Errorf("asked %d times, kept %q", n, b.kept)
	}
	b.advance(time.Hour)
	b.KeepHolder = true
	if s := b.ask(t, "Ada Byron"); s.Holder != "Ada Byron" || b.asked.Load() != 2 {
		t.Errorf("%+v after %d questions", s, b.asked.Load())
	}
	if s := b.ask(t, "Zoe\u0308"); s.Result != Match {
		t.Errorf("%+v", s)
	}
	if s := b.ask(t, "Zo\u00eb"); s.Result != Match || b.asked.Load() != 3 {
		t.Errorf("another form of a name is another name: %+v", s)
	}
}

// TestResults: each answer of the Verification API has its result.
func TestResults(t *testing.T) {
	for name, test := range map[string]struct {
		status   int
		body     string
		minScore int
		want     Result
	}{
		"match":                       {200, `{"verified":true,"match_score":80}`, 0, Match},
		"no match":                    {200, `{"verified":false,"match_score":79}`, 0, NoMatch},
		"a score that is enough":      {200, `{"verified":false,"match_score":85}`, 85, Match},
		"a score that is not":         {200, `{"verified":true,"match_score":84}`, 85, NoMatch},
		"no score to compare":         {200, `{"verified":true}`, 85, Unavailable},
		"no account":                  {400, `{"title":"No suitable accounts to verify."}`, 0, NotVerifiable},
		"a name that is not accepted": {400, `{"title":"x","errors":{"name":["too long"]}}`, 0, Unavailable},
		"a refused token":             {401, `{"title":"Unauthorized"}`, 0, Unavailable},
		"a refused client":            {403, `{"title":"Forbidden"}`, 0, Unavailable},
		"too many requests":           {429, ``, 0, Unavailable},
		"an error":                    {500, ``, 0, Unavailable},
		"nothing of use":              {200, `{}`, 0, Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.MinScore = test.minScore
			b.says(test.status, test.body)
			if s := b.ask(t, "Ada"); s.Result != test.want || (b.kept == "") != (test.want == Unavailable) {
				t.Errorf("%+v, kept %q", s, b.kept)
			}
		})
	}
}

// TestChangedSettings: a score that was too low before, or is from now on, and a holder that
// is no longer to be known, are judged by what holds now.
func TestChangedSettings(t *testing.T) {
	b := newBench(t)
	b.KeepHolder = true
	for _, test := range []struct {
		minScore int
		keep     bool
		want     State
	}{
		{0, true, State{Result: Match, Score: 90, Holder: "Ada Byron"}},
		{91, false, State{Result: NoMatch, Score: 90}},
		{90, true, State{Result: Match, Score: 90, Holder: "Ada Byron"}},
	} {
		b.MinScore, b.KeepHolder = test.minScore, test.keep
		if s := b.ask(t, "Ada"); s.Result != test.want.Result || s.Score != 90 || s.Holder != test.want.Holder {
			t.Errorf("%+v, want %+v", s, test.want)
		}
	}
	b.says(http.StatusOK, `{"verified":true}`)
	b.MinScore = 0
	b.ask(t, "Bob")
	b.MinScore = 50 // a word without a score is none
	b.ask(t, "Bob")
	if n := b.asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// TestRefusedToken: a token that the API refuses is renewed once.
func TestRefusedToken(t *testing.T) {
	b := newBench(t)
	good := *b.answer.Load()
	b.does(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		good(w, r)
	})
	if s := b.ask(t, "Ada"); s.Result != Match || b.asked.Load() != 2 {
		t.Errorf("%+v after %d questions", s, b.asked.Load())
	}
}

// TestBackOff: a bank that cannot be asked is not asked at once again, and later it is.
func TestBackOff(t *testing.T) {
	b := newBench(t)
	b.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	for range 5 {
		if s := b.ask(t, "Ada"); s.Result != Unavailable {
			t.Errorf("%+v", s)
		}
	}
	if n := b.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	b.advance(30 * time.Second)
	b.says(http.StatusOK, `{"verified":true}`)
	if s := b.ask(t, "Ada"); s.Result != Match {
		t.Errorf("%+v", s)
	}
	b.broken = true // a word that is not kept is none
	if s := b.ask(t, "Bob"); s.Result != Unavailable || s.Score != -1 {
		t.Errorf("%+v", s)
	}
}

// TestGuessing: whoever may choose the name has three tries a minute and ten in all.
func TestGuessing(t *testing.T) {
	b := newBench(t)
	b.says(http.StatusOK, `{"verified":false,"match_score":0,"report":[{"verifiable":true}]}`)
	tried := 0
	for i := range 50 {
		s := b.ask(t, fmt.Sprint("Name ", i))
		if s.Result == NoMatch {
			tried++
			continue
		}
		if s.Result != TooManyNames || b.asked.Load() != int64(tried) {
			t.Fatalf("%+v after %d questions", s, b.asked.Load())
		}
		b.advance(20 * time.Second)
	}
	if tried != maxNames {
		t.Errorf("%d tries", tried)
	}
	// the last name that was tried is still known, and asked about when its word is old
	b.advance(2 * time.Hour)
	last := ""
	for i := range 50 {
		if name := fmt.Sprint("Name ", i); Read(b.kept).key == Key([]byte("key"), name) {
			last = name
		}
	}
	if s := b.ask(t, last); s.Result != NoMatch || Read(b.kept).names != maxNames {
		t.Errorf("%+v", s)
	}
}

// TestGuessingAtOnce: names that are tried at the same moment count as well.
func TestGuessingAtOnce(t *testing.T) {
	b := newBench(t)
	b.says(http.StatusOK, `{"verified":false,"match_score":0,"report":[{"verifiable":true}]}`)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() { b.ask(t, fmt.Sprint("Name ", i)) })
	}
	wg.Wait()
	if n := b.asked.Load(); n > maxNamesInAMinute {
		t.Errorf("the bank was asked %d times", n)
	}
}

// TestState: what is kept comes back, and what is something else is nothing.
func TestState(t *testing.T) {
	want := State{Result: NoMatch, Score: -1, At: time.UnixMilli(1_800_000_000_123), Holder: "Ada", Claimed: "Ada B", key: "0123456789abcdef", names: 7, minute: time.UnixMilli(1_800_000_000_000), minuteNames: 2}
	text := want.Append()
	if got := Read(text); got != want {
		t.Errorf("%+v", got)
	}
	for i := range text {
		if got := Read(text[:i]); got != (State{}) {
			t.Errorf("the first %d bytes are %+v", i, got)
		}
	}
	for _, odd := range []string{"", "2" + text[1:], text + "x", "1\x09" + text[2:]} {
		if got := Read(odd); got != (State{}) {
			t.Errorf("%q is %+v", odd, got)
		}
	}
	if want.knows(want.key, want.At.Add(-25*time.Hour), 24*time.Hour) {
		t.Error("a clock that was set back keeps a word for ever")
	}
}
