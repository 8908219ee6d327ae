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
	AuthURI   = "authuri"
	ReauthURI = "reauthuri"
	Token     = "token"
	JWKS      = "jwks"
	Providers = "providers"
	Logo      = "logo"
	Delete    = "delete"
	Verify    = "verify"
	Data      = "data"
)

var endpoints = []string{Authorize, AuthURI, ReauthURI, Token, JWKS, Providers, Logo, Delete, Verify, Data}

const (
	maxBody  = 64 << 10
	hugeSize = 2 << 20
)

// Fault is a way for an endpoint to misbehave. Its fields can be combined. With
// only Delay, Hold or Header, the endpoint still acts and answers as usual.
type Fault struct {
	// Times is how many requests the fault affects. With 0 it lasts until
	// ClearFaults.
	Times int

	// Rate is the probability that the fault affects a request. With 0 it affects
	// every request.
	Rate float64

	// Delay and Hold make the endpoint wait first. If the client gives up
	// meanwhile, the endpoint stops waiting and still acts on the request.
	Delay time.Duration
	Hold  <-chan struct{}

	// If any of Status, ContentType and Body is set, they replace the endpoint's
	// answer. A Status alone is sent with the body that the service would send.
	Status      int
	ContentType string
	Body        string

	// Header is added to the answer.
	Header http.Header

	// Truncate announces the whole answer, sends half of it, and closes the
	// connection.
	Truncate bool

	// Huge adds two megabytes to the answer. A JSON object stays well formed.
	Huge bool

	// DropBefore closes the connection before the endpoint acts. DropAfter closes
	// it afterwards: the code is spent or the refresh token replaced, and the
	// answer is lost.
	DropBefore bool
	DropAfter  bool
}

// faults holds a queue of faults for each endpoint. Only the first is in effect.
type faults struct {
	mu    sync.Mutex
	queue map[string][]*Fault
}

// Fail queues a fault for an endpoint, one of the constants from Authorize to
// Data. It panics for any other name, since that is a mistake in a test.
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

// ClearFaults removes all faults. Requests that wait for a Hold keep waiting.
func (s *Simulator) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	clear(s.faults.queue)
}

// next returns the fault for the current request, if there is one.
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

// endpoint returns a handler that counts requests and applies faults before it
// calls act. It reads the body first, since net/http otherwise does not notice
// that a client has gone.
func (s *Simulator) endpoint(name string, act http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "send a smaller body", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		f, struck := s.faults.next(name)
		s.record.request(name, r.Header, body)
		s.record.call(name) // last: who has seen the call can rely on the rest
		w.Header().Set("X-Tl-Correlation-Id", newUUID())
		s.setDate(w.Header())
		if struck {
			f.strike(name, act, w, r)
			return
		}
		act(w, r)
	})
}

// setDate sets the Date of an answer if the service's clock is wrong. Otherwise
// net/http does.
func (s *Simulator) setDate(header http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settings.ClockSkew != 0 {
		header.Set("Date", s.clock().UTC().Format(http.TimeFormat))
	}
}

// strike answers a request as the fault says. A panic with http.ErrAbortHandler
// makes net/http close the connection without an answer.
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

// answer writes the answer that replaces the endpoint's own.
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

// answer is a ResponseWriter that buffers the response, so that a fault can change
// it.
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
