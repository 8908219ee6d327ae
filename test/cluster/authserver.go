package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// Issue is a token request and the tokens that were the answer.
type Issue struct {
	Token
	Grant   string
	Used    string // the code or refresh token that was sent
	Refresh string // the refresh token to use next
	At      time.Time
	Came    int // the epoch in which the request came
	Left    int // the one in which the answer went out; -1 before
}

// Denial is a token request that was refused, with a refresh token that had
// been good.
type Denial struct {
	Used string
	Came int
}

// AuthServer is the simulated TrueLayer with a book of what it issued, by
// connection. Only the simulator knows these things; the module's own records
// are sealed.
type AuthServer struct {
	server      *httptest.Server
	sim         *simulator.Simulator
	connections atomic.Int64 // that are open

	mu     sync.Mutex
	epochs []time.Time // when each ended, but for the present one
	linger func() time.Duration
	issued map[string][]*Issue // by connection
	denied map[string][]Denial // by connection
	owner  map[string]string   // connections by code or refresh token
}

func newAuthServer(o Owner, sim *simulator.Simulator) *AuthServer {
	a := &AuthServer{
		sim:    sim,
		issued: make(map[string][]*Issue), owner: make(map[string]string), denied: make(map[string][]Denial),
	}
	a.server = httptest.NewUnstartedServer(a)
	a.server.Config.ConnState = a.connState
	a.server.Start()
	o.Cleanup(func() { end(a.server) })
	return a
}

// connState counts connections.
func (a *AuthServer) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		a.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		a.connections.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// Drain waits until all is done that clients which are gone had asked for.
func (a *AuthServer) Drain(o Owner) {
	o.Helper()
	// theirs were accepted when a later connection is
	if _, err := get(o.Context(), a.server.URL+"/.well-known/openid-configuration/jwks"); err != nil {
		o.Fatalf("%v", err)
	}
	Await(o, "the token requests of a dead client", func() bool { return a.connections.Load() == 0 })
}

// NextEpoch begins another span of time, such as the life of a process. They
// are counted from 0.
func (a *AuthServer) NextEpoch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epochs = append(a.epochs, time.Now())
}

// Ended is when an epoch was over.
func (a *AuthServer) Ended(epoch int) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epochs[epoch]
}

// Linger makes the token endpoint hold its answers back for a while after it
// has acted. The function is called by one goroutine at a time; nil ends it.
func (a *AuthServer) Linger(duration func() time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.linger = duration
}

// ServeHTTP implements http.Handler.
func (a *AuthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/connect/token" {
		a.sim.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	a.mu.Lock()
	epoch := len(a.epochs)
	a.mu.Unlock()
	answer := httptest.NewRecorder()
	a.sim.ServeHTTP(answer, r)

	leave := a.write(form, epoch, answer) // in the book before anybody can see it
	a.wait(r.Context())
	leave()
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// wait lingers, or until the client is gone.
func (a *AuthServer) wait(ctx context.Context) {
	a.mu.Lock()
	if a.linger == nil {
		a.mu.Unlock()
		return
	}
	timer := time.NewTimer(a.linger())
	a.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// write writes an answer into the book. The function that it returns notes
// that the answer goes out.
func (a *AuthServer) write(form url.Values, epoch int, answer *httptest.ResponseRecorder) (leave func()) {
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	used := form.Get("refresh_token") + form.Get("code") // one of them
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body.Bytes(), &tokens) != nil {
		if connection, ok := a.owner[used]; ok {
			a.denied[connection] = append(a.denied[connection], Denial{used, epoch})
		}
		return func() {}
	}
	token := readToken(tokens.Access)
	a.owner[used], a.owner[tokens.Refresh] = token.Subject, token.Subject
	issue := &Issue{
		Token: token, Grant: form.Get("grant_type"), Used: used, Refresh: tokens.Refresh, At: time.Now(), Came: epoch, Left: -1,
	}
	a.issued[token.Subject] = append(a.issued[token.Subject], issue)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		issue.Left = len(a.epochs)
	}
}

// Issued is what a connection was issued, in order.
func (a *AuthServer) Issued(connection string) (issues []Issue) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, issue := range a.issued[connection] {
		issues = append(issues, *issue)
	}
	return issues
}

// Connections are all that were issued anything.
func (a *AuthServer) Connections() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.issued))
}

// Refreshes is how often a connection's tokens were refreshed.
func (a *AuthServer) Refreshes(connection string) (n int) {
	for _, issue := range a.Issued(connection) {
		if issue.Grant == "refresh_token" {
			n++
		}
	}
	return n
}

// Connection is whose tokens were issued for a code.
func (a *AuthServer) Connection(code string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.owner[code]
}

// Denied is what a connection was refused, in order.
func (a *AuthServer) Denied(connection string) []Denial {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.denied[connection])
}
