package vouch

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"github.com/patrickmn/go-cache"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// bounds bound the questions to a bank, of all sessions of a client together.
var bounds = flight.Bounds{All: 32, Network: 8, Waiting: 256, Queue: 2048, EachMinute: 120, Timeout: 30 * time.Second}

// Asker asks banks about names.
type Asker struct {
	// API is the Verification API.
	API *authserver.Server
	// Shared is what the blocks with the same client share.
	Shared *Shared
	// MinScore is the lowest score that counts as a match; 0 leaves that to TrueLayer.
	MinScore int
	// KeepHolder says that the name of the account's holder is to be known.
	KeepHolder bool
	// MaxAge is how long the bank's word holds.
	MaxAge time.Duration
	// Observe is called before each question, and what it returns afterwards, with an error
	// if there was no answer.
	Observe func(ctx context.Context) (done func(Result, error))
	Now     func() time.Time
}

// Shared is the questions that are under way, and the failures that are remembered.
type Shared struct {
	requests *flight.Fair
	backoffs *cache.Cache // by session
}

// NewShared returns a Shared.
func NewShared(now func() time.Time) *Shared {
	return &Shared{flight.NewFair(bounds, now), cache.New(maxBackoff, maxBackoff)}
}

// Session is a session whose bank is asked.
type Session interface {
	// Load returns what is kept with the session, and its access token.
	Load(ctx context.Context) (kept string, access authserver.Secret, err error)
	// Renew returns another access token in place of one that was refused.
	Renew(ctx context.Context) (authserver.Secret, error)
	// Keep changes what is kept, on top of what is kept by then. It may call change several
	// times.
	Keep(ctx context.Context, change func(kept string) (string, bool)) error
}

// Question is a question about a name.
type Question struct {
	Session Session
	// ID names the session, and Network and ClientIP where its visitor is.
	ID       string
	Network  netip.Prefix
	ClientIP string // "" is not sent
	// Name is folded, and Key stands for it.
	Name, Key string
}

const (
	minBackoff = time.Second
	maxBackoff = time.Minute
)

// backoff says when a session's bank may be asked again after a failure.
type backoff struct {
	until time.Time
	delay time.Duration
}

// answer is what a flight found out, for the name that it was about.
type answer struct {
	key   string
	state State
}

// Known returns a state in which the bank's word on a name stands, and is not too old, as
// the Asker's settings have it. They may have changed since the bank was asked.
func (a *Asker) Known(state State, key string) (State, bool) {
	if !state.knows(key, a.Now(), a.MaxAge) {
		return State{}, false
	}
	if !a.KeepHolder {
		state.Holder = ""
	}
	state.Result = a.judge(state)
	return state, state.Result == NotVerifiable || a.MinScore == 0 || state.Score >= 0
}

// judge returns what the bank's word is by the lowest score.
func (a *Asker) judge(said State) Result {
	switch {
	case a.MinScore == 0 || said.Result == NotVerifiable:
		return said.Result
	case said.Score >= a.MinScore:
		return Match
	}
	return NoMatch
}

// Ask asks the bank, and has the session keep what it says. It returns as soon as ctx ends;
// the question goes on. A session asks one question at a time.
func (a *Asker) Ask(ctx context.Context, q Question) State {
	for range 3 { // another request of the session may ask about another name
		if found, ok := a.Shared.backoffs.Get(q.ID); ok && a.Now().Before(found.(backoff).until) {
			break
		}
		found, err := a.Shared.requests.Do(ctx, q.ID, q.Network, func(ctx context.Context) (any, error) {
			return answer{q.Key, a.ask(ctx, q)}, nil
		})
		if err != nil {
			break
		}
		if got := found.(answer); got.key == q.Key {
			return got.state
		}
	}
	return State{Result: Unavailable, Score: -1}
}

// ask asks, once.
func (a *Asker) ask(ctx context.Context, q Question) State {
	unavailable := State{Result: Unavailable, Score: -1}
	kept, access, err := q.Session.Load(ctx)
	if err != nil {
		return unavailable
	}
	state := Read(kept)
	if known, ok := a.Known(state, q.Key); ok {
		return known
	}
	if !state.mayTry(q.Key, a.Now()) {
		return State{Result: TooManyNames, Score: -1}
	}
	said, err := a.verify(ctx, q, access)
	if err != nil {
		a.backOff(q, err)
		return unavailable
	}
	tooMany := false
	err = q.Session.Keep(ctx, func(kept string) (string, bool) {
		current := Read(kept) // others may have asked meanwhile, on other nodes
		if tooMany = !current.mayTry(q.Key, a.Now()); tooMany {
			return kept, false
		}
		state = current.with(q.Key, said, a.Now())
		return state.Append(), true
	})
	switch {
	case err != nil: // a word that is not kept would be a try that is not counted
		a.backOff(q, err)
		return unavailable
	case tooMany:
		return State{Result: TooManyNames, Score: -1}
	}
	a.Shared.backoffs.Delete(q.ID)
	known, _ := a.Known(state, q.Key)
	return known
}

// verify asks the Verification API, with another token if it refuses the first.
func (a *Asker) verify(ctx context.Context, q Question, access authserver.Secret) (State, error) {
	said, err := a.send(ctx, q, access)
	if refused, ok := errors.AsType[*authserver.Error](err); !ok || refused.Status != http.StatusUnauthorized {
		return said, err
	}
	access, renewErr := q.Session.Renew(ctx)
	if renewErr != nil {
		return said, err
	}
	return a.send(ctx, q, access)
}

func (a *Asker) send(ctx context.Context, q Question, access authserver.Secret) (State, error) {
	done := a.Observe(ctx)
	said, err := tlapi.VerifyName(ctx, a.API, access, q.Name, q.ClientIP, a.Now)
	if errors.Is(err, tlapi.ErrNotVerifiable) {
		done(NotVerifiable, nil)
		return State{Result: NotVerifiable, Score: -1}, nil
	}
	if err == nil && a.MinScore > 0 && said.Score < 0 {
		err = authserver.NewError("/verification/v1/verify", http.StatusOK, nil, errNoScore)
	}
	if err != nil {
		done(Unavailable, err)
		return State{}, err
	}
	state := State{Result: NoMatch, Score: said.Score}
	if said.Verified {
		state.Result = Match
	}
	if holder := Fold(said.Holder); a.KeepHolder && IsName(holder) { // it may be put into a header field
		state.Holder = holder
	}
	done(a.judge(state), nil)
	return state, nil
}

var errNoScore = errors.New("the answer has no match_score, which min_score needs")

// backOff notes that a bank could not be asked. The delay doubles up to a minute, and is
// spread. If TrueLayer asks for fewer requests, it waits for as long as TrueLayer says,
// and so does the session's network.
func (a *Asker) backOff(q Question, err error) {
	found, _ := a.Shared.backoffs.Get(q.ID)
	back, _ := found.(backoff)
	back.delay = min(max(2*back.delay, minBackoff), maxBackoff)
	wait := back.delay/2 + rand.N(back.delay/2) //nolint:gosec // spread, not secret
	if refused, ok := errors.AsType[*authserver.Error](err); ok {
		wait = max(wait, refused.RetryAfter)
		switch refused.Status {
		case http.StatusTooManyRequests:
			a.Shared.requests.Pause(q.Network, max(refused.RetryAfter, minBackoff))
		case http.StatusForbidden: // only the operator can mend that
			wait = max(wait, maxBackoff/2)
		}
	}
	back.until = a.Now().Add(wait)
	a.Shared.backoffs.Set(q.ID, back, max(maxBackoff, wait)+maxBackoff)
}
