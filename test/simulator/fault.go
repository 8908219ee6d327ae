package simulator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The endpoints that are counted and can be made to fail.
const (
	Authorize = "authorize"
	Token     = "token"
	JWKS      = "jwks"
	Providers = "providers"
	Delete    = "delete"
	Verify    = "verify"
	Data      = "data"
)

var endpoints = []string{Authorize, Token, JWKS, Providers, Delete, Verify, Data}

const (
	maxBody  = 64 << 10
	hugeSize = 2 << 20
)

// Fault is one way for an endpoint to misbehave. Its fields add up: one that
// only waits or adds a header acts and answers as always.
type Fault struct {
	// Times is how many requests it strikes; 0 strikes until ClearFaults.
	Times int

	// Rate is how likely it strikes a request; 0 strikes each.
	Rate float64

	// Delay and Hold make it wait before anything else. A client that gives up
	// meanwhile ends the wait but does not undo its request: that is acted upon.
	Delay time.Duration
	Hold  <-chan struct{}

	// Status, ContentType and Body, if any of them is set, answer in place of
	// the endpoint. A Status alone gets the body the service would send with it.
	Status      int
	ContentType string
	Body        string

	// Header is added to the answer.
	Header http.Header

	// Truncate announces the whole answer, sends half and closes the connection.
	Truncate bool

	// Huge pads the answer by two megabytes. A JSON object stays one.
	Huge bool

	// DropBefore closes the connection without acting, DropAfter after acting:
	// the code is spent, the refresh token replaced, the answer lost.
	DropBefore bool
	DropAfter  bool
}

// faults are queued by endpoint; only the first of a queue is at work.
type faults struct {
	mu    sync.Mutex
	queue map[string][]*Fault
}

// Fail queues a fault for an endpoint: one of the constants from Authorize to
// Data. It panics on any other name, which is a mistake in a test.
func (s *Simulator) Fail(endpoint string, f Fault) {
	if !slices.Contains(endpoints, endpoint) {
		panic(fmt.Sprintf("simulator: no endpoint %q: give one of %s", endpoint, strings.Join(endpoints, ", ")))
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.queue == nil {
		s.faults.queue = make(map[string][]*Fault)
	}
	s.faults.queue[endpoint] = append(s.faults.queue[endpoint], &f)
}

// ClearFaults makes every endpoint behave again. Requests that a fault holds
// stay held.
func (s *Simulator) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	clear(s.faults.queue)
}

// next is the fault that strikes this request, if one does.
func (q *faults) next(endpoint string) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.queue[endpoint]
	if len(waiting) == 0 {
		return Fault{}, false
	}
	f := waiting[0]
	if f.Rate > 0 && rand.Float64() >= f.Rate { //nolint:gosec // random, not secret
		return Fault{}, false
	}
	struck := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			q.queue[endpoint] = waiting[1:]
		}
	}
	return struck, true
}

// endpoint counts what arrives and lets a fault come between the request and
// the act. The body is read first: only then does net/http notice a client
// that goes away.
func (s *Simulator) endpoint(name string, act http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "send a smaller body", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.record.call(name)
		if name == Token {
			form, _ := tokenForm(r.Header, body)
			s.record.tokenRequest(form, r.Header)
		}
		w.Header().Set("X-Tl-Correlation-Id", newUUID())
		if f, struck := s.faults.next(name); struck {
			f.strike(name, act, w, r)
			return
		}
		act(w, r)
	})
}

// strike answers as the fault says. http.ErrAbortHandler is net/http's way to
// close a connection without a word.
func (f *Fault) strike(name string, act http.HandlerFunc, w http.ResponseWriter, r *http.Request) {
	f.wait(r.Context())
	if f.DropBefore {
		panic(http.ErrAbortHandler)
	}
	a := answer{header: w.Header(), status: http.StatusOK}
	if f.Status != 0 || f.ContentType != "" || f.Body != "" {
		f.answer(name, &a, r)
	} else {
		act(&a, r)
	}
	if f.DropAfter {
		panic(http.ErrAbortHandler)
	}
	for field, values := range f.Header {
		a.header[http.CanonicalHeaderKey(field)] = values
	}
	if f.Huge {
		a.pad()
	}
	if f.Truncate {
		a.header.Set("Content-Length", fmt.Sprint(a.body.Len()))
		a.body.Truncate(a.body.Len() / 2)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
	if f.Truncate {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (f *Fault) wait(ctx context.Context) {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-ctx.Done():
		}
	}
}

// answer writes what the fault puts in place of the endpoint's own answer.
func (f *Fault) answer(name string, a *answer, r *http.Request) {
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	if f.Body == "" && f.ContentType == "" {
		failAs(name, a, r, status)
		return
	}
	contentType := f.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	a.header.Set("Content-Type", contentType)
	a.WriteHeader(status)
	_, _ = io.WriteString(a, f.Body)
}

// answer holds a response back so that a fault can spoil it.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) pad() {
	a.header.Del("Content-Length")
	rest, object := bytes.CutPrefix(bytes.Clone(a.body.Bytes()), []byte("{"))
	if !object {
		a.body.Write(bytes.Repeat([]byte{' '}, hugeSize))
		return
	}
	a.body.Reset()
	a.body.WriteString(`{"padding":"`)
	a.body.Write(bytes.Repeat([]byte{'x'}, hugeSize))
	a.body.WriteByte('"')
	if !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("}")) {
		a.body.WriteByte(',')
	}
	a.body.Write(rest)
}
